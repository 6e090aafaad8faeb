"""BentoML: what is asked of it, how its log is read here, and what both endpoints have to agree on.

The server's own metrics are measured around its access log, so each of its durations is a little longer. How much
longer is the scheduler's to say; what is claimed is that a log's time is never the longer one, and the mean difference.
"""

import collections
import math
import re

from report import bound, by_key, samples

READY = "/readyz"
# What the server never logs, and counts.
UNLOGGED = (READY, "/metrics", "/healthz", "/livez")
# Mean seconds by which the server's own durations may be longer for a request: 0.0001 to 0.001 on a quiet machine.
DIFFERENCE_S = 0.005
# A single request that met a busy machine between both clocks.
FAR_S = 0.1
BROKEN = "/a%0ab"
REJECTED = 1
OURS = ["bentoml_service_request_total", "bentoml_service_request_duration_seconds"]

Row = collections.namedtuple("Row", "key seconds")
LINE = re.compile(
    r"\S+\+0000 \[INFO\] \[(?:entry_)?service:([\w-]+):\d+\] (?:_|[\d.:]+) "
    r"\(scheme=http,method=(\w+),path=(.*),type=[^,]*,length=\d*\) "
    r"\(status=(\d+),type=[^,]*,length=\d*\) ([\d.]+)ms \(trace=[^()]*\)$"
)


def requests():
    """In this order: method, path, body, expected answer. No two threads need to agree on an order."""
    yield from [("POST", "/analyze", {"text": f"good {n}", "took": n % 7 * 0.004}, 200) for n in range(80)]
    yield from [("POST", "/analyze", {"text": "slow", "took": 0.15}, 200)] * 6
    yield from [("POST", "/tokens", {"text": "a b c"}, 200)] * 20
    yield from [("POST", "/stream", {"parts": 1 + n % 5}, 200) for n in range(15)]
    yield from [("POST", "/fail", {"kind": "busy"}, 503)] * 9
    yield from [("POST", "/fail", {"kind": "invalid"}, 400)] * 8
    yield from [("POST", "/fail", {"kind": "crash"}, 500)] * 7
    yield from [("POST", "/analyze", {"wrong": 1}, 400)] * 5
    yield from [("GET", "/analyze", None, 405)] * 4
    yield from [("GET", "/docs.json", None, 200)] * 3
    yield from [("HEAD", "/", None, 200), ("GET", "/", None, 200)]
    yield from [("GET", f"/nobody/{n}?x=1", None, 404) for n in range(25)]
    # Clients that write into the log what looks like the server's own text.
    yield ("GET", "/x)%20(status=200,type=,length=1)%209999.000ms", None, 404)
    yield ("GET", "/x,type=,length=1)%20(status=200,type=,length=1)%209999.000ms%20(trace=1)", None, 404)
    yield ("GET", "/%1b%5b31mred", None, 404)
    yield ("GET", "/%22%5c%7b%7d%ff", None, 404)
    # One that breaks its line in two: neither half is a request any more.
    yield ("GET", BROKEN, None, 404)


def due(tally):
    """How many access lines that makes: a request for tokens asks the other service once more."""
    return sum(tally.values()) + tally["POST /tokens 200"] - REJECTED


def key_of(service, path, code):
    return (service, "other" if code == "404" else path, code)


def rows(text):
    """The access lines, read in another way than inferometer reads them."""
    found = [LINE.match(line) for line in text.split("\n")]
    return [Row(key_of(m[1], m[3], m[4]), float(m[5]) / 1000) for m in found if m]


def theirs_by_key(scrape, name):
    """The server's samples as a log can tell them."""
    found = {}
    for (service, path, code), value in samples(scrape, name, "runner_name", "endpoint", "http_response_code").items():
        # The server shows its endpoints before they are asked.
        if not path.startswith(UNLOGGED) and "\n" not in path and value > 0:
            key = key_of(service, path, code)
            found[key] = found.get(key, 0) + value
    return found


def compare(report, ours, theirs, tally, text):
    log = rows(text)
    key = ("runner_name", "endpoint", "http_response_code")
    total, duration = OURS
    driven = {}
    for asked, count in tally.items():
        _, path, code = asked.split(" ")
        made = key_of("sentiment-net", path, code)
        driven[made] = driven.get(made, 0) + (count if path != BROKEN else 0)
    driven["tokenizer", "/split", "200"] = tally["POST /tokens 200"]
    report.check("requests by endpoint and code are those that were sent", samples(ours, total, *key), driven)
    for name in [total, f"{duration}_count"]:
        report.check(f"{name} is the server's own", samples(ours, name, *key), theirs_by_key(theirs, name))
    for name, family in ours.type.items():
        if name in OURS:
            report.check(f"type of {name}", family, theirs.type[name])

    sums = samples(ours, f"{duration}_sum", *key)
    report.close("the sums are those of the lines", sums, by_key(log, lambda row: row.seconds))
    counts = samples(ours, f"{duration}_count", *key)
    more = {at: (value - sums[at]) / counts[at] for at, value in theirs_by_key(theirs, f"{duration}_sum").items()}
    # A log's time is rounded to a microsecond.
    report.within("seconds per request by which the server's own time is longer", more, -1e-6, DIFFERENCE_S)

    ours_buckets = samples(ours, f"{duration}_bucket", *key, "le")
    theirs_buckets, least = {}, {}
    for (service, path, code, le), value in samples(theirs, f"{duration}_bucket", *key, "le").items():
        at = (*key_of(service, path, code), le)
        if at[:3] in counts and "\n" not in path:
            theirs_buckets[at] = theirs_buckets.get(at, 0) + value
    expected = {at: sum(row.key == at[:3] and row.seconds <= bound(at[3]) for row in log) for at in theirs_buckets}
    report.check("the buckets are those of the lines, with the server's bounds", ours_buckets, expected)
    # A request that the server's own time moves over a bound is one that the log has below it.
    for at in theirs_buckets:
        ahead = ours_buckets.get(at, math.nan) - theirs_buckets[at]
        near = sum(row.key == at[:3] and row.seconds <= bound(at[3]) < row.seconds + FAR_S for row in log)
        least[at] = 0 <= ahead <= near
    report.check("the server's own buckets are these or later ones", least, dict.fromkeys(theirs_buckets, True))

    moved = sum(ours_buckets[at] != theirs_buckets[at] for at in ours_buckets)
    worst = max(more.values())
    mean = sum(more[at] * counts[at] for at in more) / sum(counts.values())
    return (
        f"{int(sum(counts.values()))} requests in {len(counts)} series: counts equal; the server's own times are "
        f"{mean * 1e3:.3f} ms longer on average ({worst * 1e3:.3f} ms in the worst series) of "
        f"{sum(sums.values()) / sum(counts.values()) * 1e3:.3f}; {moved} of {len(ours_buckets)} buckets differ"
    )
