#!/usr/bin/env python3
"""A hundred clean-ups of one data set, each tried in a fork of the same live session; the best is kept, the others are thrown away.

    sandglass serve                                                  # in another terminal
    export SANDGLASS_TOKEN=$(cat ~/.local/share/sandglass/token)
    python3 examples/cleanups.py

The data set is loaded once. Every fork begins with it in memory: pandas and all, where `python-data` is installed, else Python's own csv.
SANDGLASS_SERVER names another service than http://127.0.0.1:7777.
"""

import csv
import io
import itertools
import json
import math
import os
import random
import statistics
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

SERVER = os.environ.get("SANDGLASS_SERVER", "http://127.0.0.1:7777").rstrip("/")
TOKEN = os.environ.get("SANDGLASS_TOKEN", "")

UNITS = ["as they are", "above 45 is Fahrenheit", "above 60 is Fahrenheit", "above 75 is Fahrenheit"]
MISSING = ["dropped", "the mean", "the median", "zero", "the one before"]
OUTLIERS = ["kept", "beyond 3 sigma dropped", "beyond 2 sigma dropped", "cut at 2 sigma", "beyond the fences dropped"]

# What the session runs once. `clean` gives readings without what is wrong in them; `error` holds them against trusted ones.
WITH_PANDAS = """
import pandas as pd
df, trusted = pd.read_csv('readings.csv'), pd.read_csv('trusted.csv')

def clean(units, missing, outliers):
    d = df.copy()
    if units != 'as they are':
        d.celsius = d.celsius.mask(d.celsius > float(units.split()[1]), (d.celsius - 32) / 1.8)
    known = d.celsius.dropna()
    d.celsius = {'the mean': lambda: d.celsius.fillna(known.mean()), 'the median': lambda: d.celsius.fillna(known.median()),
                 'zero': lambda: d.celsius.fillna(0), 'the one before': lambda: d.celsius.ffill()}.get(missing, lambda: d.celsius)()
    d = d.dropna()
    mean, sigma, low, high = d.celsius.mean(), d.celsius.std(), d.celsius.quantile(.25), d.celsius.quantile(.75)
    if outliers.startswith('beyond the fences'):
        return d[d.celsius.between(low - 1.5 * (high - low), high + 1.5 * (high - low))]
    if outliers.startswith('beyond'):
        return d[(d.celsius - mean).abs() <= int(outliers.split()[1]) * sigma]
    return d.assign(celsius=d.celsius.clip(mean - 2 * sigma, mean + 2 * sigma)) if outliers.startswith('cut') else d

def error(d):
    return float(((trusted.celsius - trusted.hour.map(d.groupby('hour').celsius.mean())) ** 2).mean() ** .5)

len(df)
"""

WITHOUT = """
import csv, statistics
def read(name):
    return [(int(row['hour']), float(row['celsius']) if row['celsius'] else None) for row in csv.DictReader(open(name))]
df, trusted = read('readings.csv'), read('trusted.csv')

def clean(units, missing, outliers):
    d = df
    if units != 'as they are':
        above = float(units.split()[1])
        d = [(hour, (value - 32) / 1.8 if value is not None and value > above else value) for hour, value in d]
    known = [value for _, value in d if value is not None]
    fill = {'the mean': statistics.fmean(known), 'the median': statistics.median(known), 'zero': 0.0}.get(missing)
    filled = []
    for hour, value in d:
        if value is None:
            value = filled[-1][1] if missing == 'the one before' and filled else fill
        if value is not None:
            filled.append((hour, value))
    values = [value for _, value in filled]
    mean, sigma = statistics.fmean(values), statistics.stdev(values)
    low, _, high = statistics.quantiles(values, n=4, method='inclusive')
    if outliers.startswith('beyond the fences'):
        return [one for one in filled if low - 1.5 * (high - low) <= one[1] <= high + 1.5 * (high - low)]
    if outliers.startswith('beyond'):
        return [one for one in filled if abs(one[1] - mean) <= int(outliers.split()[1]) * sigma]
    if outliers.startswith('cut'):
        return [(hour, min(max(value, mean - 2 * sigma), mean + 2 * sigma)) for hour, value in filled]
    return filled

def error(d):
    by_hour = {}
    for hour, value in d:
        by_hour.setdefault(hour, []).append(value)
    return statistics.fmean((value - statistics.fmean(by_hour[hour])) ** 2 for hour, value in trusted) ** .5

len(df)
"""


def request(method, path, body=None, headers=()):
    """Sends a request and returns the bytes of the answer; a refusal ends the program with its reason."""
    headers = {"Authorization": f"Bearer {TOKEN}", **dict(headers)}
    if isinstance(body, dict):
        headers["Content-Type"] = "application/json"
        body = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(SERVER + path, body, headers, method=method)) as answer:
            return answer.read()
    except urllib.error.HTTPError as refusal:
        problem = json.loads(refusal.read())
        raise SystemExit(f"{problem['detail']} ({problem['code']})\n{problem.get('hint', '')}")
    except urllib.error.URLError as failure:
        raise SystemExit(f"no service answers at {SERVER} ({failure.reason}): start one with `sandglass serve`")


def ask(method, path, body=None):
    """As `request`, for answers in JSON."""
    return json.loads(request(method, path, body))


def turn(sandbox, code):
    """Runs code in the sandbox's session and returns the value of its last expression, and the milliseconds it took."""
    start = time.perf_counter()
    body = {"tool": "python", "session": "data", "arguments": {"code": code}}
    call = ask("POST", f"/v1/sandboxes/{sandbox}/calls", body)
    if call["status"] != "ok":
        raise SystemExit(f"the call ended as {call['status']}: {call['stderr']}{call.get('message') or ''}")
    return call["result"], (time.perf_counter() - start) * 1e3


def readings():
    """Makes a day of readings with what readings have: gaps, other units, a sensor that says -99; and some that are sure."""
    draw = random.Random(7)
    true = [18 + 8 * math.sin((hour - 9) / 24 * 2 * math.pi) for hour in range(24)]
    rows, sure = [], [(hour, round(true[hour] + draw.gauss(0, 0.1), 2)) for hour in range(24) for _ in range(2)]
    for _ in range(5_000):
        hour = draw.randrange(24)
        value = true[hour] + draw.gauss(0, 1)
        fate = draw.random()
        value = "" if fate < 0.06 else -99 if fate < 0.08 else value * 1.8 + 32 if fate < 0.18 else value
        rows.append((hour, value if value == "" else round(value, 2)))
    return rows, sure


def put(sandbox, name, rows):
    out = io.StringIO()
    csv.writer(out).writerows([("hour", "celsius"), *rows])
    request("PUT", f"/v1/sandboxes/{sandbox}/files/workspace/{name}", out.getvalue().encode())


def timed(what, work):
    """Does something, says what and how long it took, and returns what it gave."""
    start = time.perf_counter()
    found = work()
    print(f"    {what}: {(time.perf_counter() - start) * 1e3:,.0f} ms")
    return found


def main():
    print("1. a sandbox with 5,000 readings, loaded in a session")
    sandbox = ask("POST", "/v1/sandboxes", {})["id"]
    rows, sure = readings()
    put(sandbox, "readings.csv", rows)
    put(sandbox, "trusted.csv", sure)
    has_pandas, _ = turn(sandbox, "import importlib.util; importlib.util.find_spec('pandas') is not None")
    name = "pandas" if has_pandas == "True" else "csv (python-data is not installed)"
    timed(f"import and load, with {name}", lambda: turn(sandbox, WITH_PANDAS if has_pandas == "True" else WITHOUT))
    before, _ = turn(sandbox, "error(clean('as they are', 'dropped', 'kept'))")
    print(f"    as they are, they are wrong by {float(before):.2f} degrees")

    print("2. a hundred forks of it, with all that is in memory")
    ways = list(itertools.product(UNITS, MISSING, OUTLIERS))
    forks = timed("100 forks", lambda: ask("POST", f"/v1/sandboxes/{sandbox}/fork", {"count": len(ways)}))["sandboxes"]

    print("3. another clean-up in each")

    def attempt(pair):
        fork, way = pair
        found, took = turn(fork["id"], f"df = clean(*{way!r}); error(df)")
        return float(found), took, way, fork["id"]

    with ThreadPoolExecutor(4) as threads:
        tried = timed("100 clean-ups, 4 at a time", lambda: sorted(threads.map(attempt, zip(forks, ways))))
    took = sorted(one[1] for one in tried)
    print(f"    one call, the first of its fork: {statistics.median(took):.0f} ms in the median, {took[-1]:.0f} ms at most")
    for place in (0, 1, 2, len(tried) // 2, len(tried) - 1):
        off, _, (units, missing, outliers), _ = tried[place]
        print(f"    {place + 1:>3}. {off:5.2f} degrees   units {units}; missing {missing}; outliers {outliers}")

    print("4. the best is kept: the sandbox goes on from its state, session and all")
    best = ask("GET", f"/v1/sandboxes/{tried[0][3]}")["state"]
    timed("restore", lambda: ask("POST", f"/v1/sandboxes/{sandbox}/restore", {"state": best}))
    after, _ = turn(sandbox, "error(df)")
    print(f"    the readings in its memory are wrong by {float(after):.2f} degrees")

    print("5. the others are thrown away")
    with ThreadPoolExecutor(4) as threads:
        timed("100 deleted", lambda: list(threads.map(lambda fork: request("DELETE", f"/v1/sandboxes/{fork['id']}"), forks)))
    request("DELETE", f"/v1/sandboxes/{sandbox}")


if __name__ == "__main__":
    main()
