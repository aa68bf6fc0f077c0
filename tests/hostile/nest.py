# Source, JSON and pickles that nest.
import json, pickle
for attempt in (
    lambda: eval('(' * 100_000 + ')' * 100_000),
    lambda: eval('-' * 500_000 + '1'),
    lambda: json.loads('[' * 1_000_000),
    lambda: pickle.loads(b'(' * 1_000_000 + b'l' * 1_000_000 + b'.'),
    lambda: compile('x.' * 100_000 + 'y', '', 'eval'),
):
    try:
        attempt()
    except Exception as error:
        print(type(error).__name__)
