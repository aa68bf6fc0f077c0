# Objects that come back whenever they are thrown away.
class Phoenix:
    def __del__(self):
        Phoenix()
        while True:
            Phoenix()
Phoenix()
