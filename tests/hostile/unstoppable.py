# Catches whatever ends it, and goes on.
import signal, sys
def again(*_):
    while True:
        try:
            while True:
                pass
        except BaseException:
            continue
        finally:
            again()
again()
