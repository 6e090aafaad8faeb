"""What deploy/examples/grok_exporter.original.yml gives for fixtures/rules/grok_exporter.log, in grok_exporter's terms.

grok_exporter itself is in no Debian release. This is a second reading of its configuration that shares nothing with
inferometer: the patterns are those of the grok library, as Python writes them (with its look-behind, which RE2 and our
rules lack), and each metric looks at each line, as grok_exporter does. Written once into
fixtures/rules/grok_exporter.expected.json:

    python3 tests/support_rules/grok_expected.py < fixtures/rules/grok_exporter.log
"""

import json
import re
import sys
from collections import defaultdict

PATTERNS = {
    "YEAR": r"(?:\d\d){1,2}",
    "MONTHNUM": r"(?:0?[1-9]|1[0-2])",
    "MONTHDAY": r"(?:(?:0[1-9])|(?:[12][0-9])|(?:3[01])|[1-9])",
    "HOUR": r"(?:2[0123]|[01]?[0-9])",
    "MINUTE": r"(?:[0-5][0-9])",
    "SECOND": r"(?:(?:[0-5]?[0-9]|60)(?:[:.,][0-9]+)?)",
    "TIMESTAMP_ISO8601": r"%{YEAR}-%{MONTHNUM}-%{MONTHDAY}[T ]%{HOUR}:?%{MINUTE}(?::?%{SECOND})?",
    "LOGLEVEL": r"(?:[Tt]race|TRACE|[Dd]ebug|DEBUG|[Ii]nfo|INFO|[Ww]arn|WARN|[Ee]rror|ERROR|[Ff]atal|FATAL)",
    "IPORHOST": r"(?:[0-9A-Za-z][0-9A-Za-z.-]*)",
    "USERNAME": r"[a-zA-Z0-9._-]+",
    "WORD": r"\b\w+\b",
    "INT": r"(?:[+-]?(?:[0-9]+))",
    "NUMBER": r"(?:(?<![0-9.+-])(?:[+-]?(?:(?:[0-9]+(?:\.[0-9]+)?)|(?:\.[0-9]+))))",
    "PREFIX": r"%{TIMESTAMP_ISO8601} %{LOGLEVEL:level} \[%{IPORHOST:host}\]",
}


def compiled(match):
    """Replaces %{NAME} and %{NAME:group} until none is left."""

    def replace(found):
        name, group = found.group(1), found.group(2)
        return f"(?P<{group}>{PATTERNS[name]})" if group else f"(?:{PATTERNS[name]})"

    while "%{" in match:
        match = re.sub(r"%\{(\w+)(?::(\w+))?\}", replace, match)
    return re.compile(match)


LINES = compiled(r"%{PREFIX}")
PREDICT = compiled(r"%{PREFIX} predict user=%{USERNAME:user} model=%{WORD:model} took %{NUMBER:took} ms")
BYTES = compiled(r"%{PREFIX} predict user=%{USERNAME:user} .* size %{INT:bytes}$")
CACHE = compiled(r"%{PREFIX} cache of %{USERNAME:user} has %{INT:entries} entries")
BUCKETS = [0.1, 0.25, 0.5, 1, 2.5]

samples = defaultdict(float)
for line in sys.stdin.read().splitlines():
    if found := LINES.search(line):
        samples[f'app_lines_total{{level="{found["level"]}"}}'] += 1
    if found := PREDICT.search(line):
        seconds, model = float(found["took"]) / 1000, found["model"]
        for bound in BUCKETS:
            samples[f'app_predict_seconds_bucket{{model="{model}",le="{float(bound)}"}}'] += seconds <= bound
        samples[f'app_predict_seconds_bucket{{model="{model}",le="+Inf"}}'] += 1
        samples[f'app_predict_seconds_sum{{model="{model}"}}'] += seconds
        samples[f'app_predict_seconds_count{{model="{model}"}}'] += 1
    if found := BYTES.search(line):
        samples[f'app_predict_bytes_sum{{user="{found["user"]}"}}'] += int(found["bytes"])
        samples[f'app_predict_bytes_count{{user="{found["user"]}"}}'] += 1
    if found := CACHE.search(line):
        samples[f'app_cache_entries{{host="{found["host"]}",user="{found["user"]}"}}'] = int(found["entries"])

json.dump(samples, sys.stdout, indent=1, sort_keys=True)
print()
