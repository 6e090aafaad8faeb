"""Reads pairs of expositions with the parsers of Python's prometheus_client.

For each NAME.txt and NAME.om in the folder one line: the samples that only one of the two has, as JSON, and
how many both have. A body that a parser refuses ends it with the parser's words. With `--without-values` only names
and labels have to be the same.
"""

import json
import pathlib
import re
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain


def key(name, sample):
    value = "" if "--without-values" in sys.argv else float(sample.value).hex()
    return json.dumps([name, sorted(sample.labels.items()), value])


def of_text(body):
    counters = set(re.findall(r"^# TYPE (\S+) counter$", body, re.M))
    for family in plain(body):
        for sample in family.samples:
            name = sample.name
            # This parser gives every counter its _total, whether the body has it or not.
            if family.type == "counter" and name not in counters:
                name = name.removesuffix("_total")
            yield key(name, sample)


def of_openmetrics(body):
    for family in openmetrics(body):
        for sample in family.samples:
            begins = family.type in ("counter", "histogram", "summary") and sample.name == family.name + "_created"
            if not begins:
                yield key(sample.name, sample)


for text in sorted(pathlib.Path(sys.argv[1]).glob("*.txt")):
    try:
        ours = set(of_text(text.read_bytes().decode()))
        theirs = set(of_openmetrics(text.with_suffix(".om").read_bytes().decode()))
    except ValueError as error:
        sys.exit(f"{text.stem}: {error}")
    print(json.dumps([text.stem, len(ours & theirs), sorted(ours - theirs), sorted(theirs - ours)]))
