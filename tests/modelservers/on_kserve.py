"""KServe: what is asked of its Python server, how its log is read here, and what both endpoints have to agree on.

The server measures the stages of a request itself; its log tells them for requests that got through only, and has the
whole time of each request, which the server does not expose.
"""

import collections
import re

from report import bound, by_key, samples

READY = "/v2/health/ready"
REJECTED = 0
OURS = [
    "kserve_requests_total",
    "kserve_request_duration_seconds",
    "kserve_request_cpu_seconds",
    "request_preprocess_seconds",
    "request_predict_seconds",
    "request_postprocess_seconds",
]

Row = collections.namedtuple("Row", "key seconds")
TIMING = re.compile(
    r"\S+ \S+ \d+ kserve\.trace kserve\.io\.(.*): ([\d.e-]+) "
    r"\['http_status:(\d+)', 'http_method:(\w+)', 'time:wall'\]$"
)
STAGES = re.compile(
    r"\S+ \S+ \d+ kserve\.trace requestId: \S+, preprocess_ms: (\S+), explain_ms: 0, "
    r"predict_ms: (\S+), postprocess_ms: (\S+)$"
)
PREDICT = "/v1/models/toy-net:predict"
INFER = "/v2/models/toy-net/infer"


def requests():
    """Method, path, body, expected answer."""
    yield from [("POST", PREDICT, {"instances": [n % 6 * 0.004]}, 200) for n in range(60)]
    yield from [("POST", PREDICT, {"instances": [0.15]}, 200)] * 6
    yield from [("POST", PREDICT, {"instances": [-1]}, 500)] * 9
    yield from [("POST", PREDICT, "no JSON", 400)] * 4
    yield from [("POST", "/v1/models/nobody:predict", {"instances": [1]}, 404)] * 7
    yield from [("GET", "/v1/models", None, 200)] * 5
    yield from [("GET", "/", None, 200)] * 3
    yield from [("GET", f"/nobody/{n}", None, 404) for n in range(20)]


def due(tally):
    """How many lines with a request's whole time that makes."""
    return sum(tally.values())


def rows(text):
    found = [TIMING.match(line) for line in text.split("\n")]
    return [Row((m[4], m[3]), float(m[2])) for m in found if m and not m[1].endswith("health.ready")]


def compare(report, ours, theirs, tally, text):
    log = rows(text)
    asked = {}
    for key, count in tally.items():
        method, _, code = key.split(" ")
        asked[method, code] = asked.get((method, code), 0) + count
    # Whether the server was ready was asked until it was; those requests are in the log as well.
    ready = sum("kserve.io.v2.health.ready: " in line and "time:wall" in line for line in text.split("\n"))
    asked["GET", "200"] += ready

    def wall(name):
        return samples(ours, name, "http_method", "http_status")

    for name in ["kserve_requests_total", "kserve_request_duration_seconds_count", "kserve_request_cpu_seconds_count"]:
        report.check(f"{name} is what was sent", wall(name), asked)
    at_model = samples(ours, "kserve_requests_total", "model_name", "http_status")
    predicted = {code: tally[f"POST {PREDICT} {code}"] for code in ["200", "500", "400"]}
    report.check(
        "requests of the model by code", {c: at_model.get(("toy-net", c)) for c in predicted}, predicted
    )
    whole = {key: value for key, value in wall("kserve_request_duration_seconds_sum").items() if key[0] == "POST"}
    report.close("whole times are those of the lines", whole, by_key([r for r in log if r.key[0] == "POST"], lambda r: r.seconds))

    through = [m.groups() for m in map(STAGES.match, text.split("\n")) if m]
    report.check("requests that got through", len(through), tally[f"POST {PREDICT} 200"])
    for stage, column in [("preprocess", 0), ("predict", 1), ("postprocess", 2)]:
        name = f"request_{stage}_seconds"
        lines = [float(row[column]) / 1000 for row in through]
        report.check(f"{name}: count of the lines", ours.total(f"{name}_count"), len(lines))
        report.close(f"{name}: sum of the lines", samples(ours, f"{name}_sum"), {(): sum(lines)})
        buckets = samples(ours, f"{name}_bucket", "le")
        want = {(le,): sum(v <= bound(le) for v in lines) for (le,) in samples(theirs, f"{name}_bucket", "le")}
        report.check(f"{name}: buckets of the lines, with the server's bounds", buckets, want)
        report.check(f"type of {name}", ours.type.get(name), theirs.type.get(name))
    # Of all stages only this one is reached by the requests of the log and no others.
    name, model = "request_postprocess_seconds", {"model_name": "toy-net"}
    report.check(f"{name} is the server's own", ours.total(f"{name}_count"), theirs.total(f"{name}_count", **model))
    longer = theirs.total(f"{name}_sum", **model) - ours.total(f"{name}_sum")
    report.within(f"{name}: seconds for each request by which the server's is longer", {"": longer / len(through)}, -1e-6, 0.001)
    reached = theirs.total("request_predict_seconds_count", **model)
    report.check("requests that reached the model", reached, predicted["200"] + predicted["500"])
    return (
        f"{len(log) + ready} requests, {len(through)} of them through all stages: counts equal; "
        f"the server's own postprocess is {longer / len(through) * 1e6:.1f} µs longer on average"
    )
