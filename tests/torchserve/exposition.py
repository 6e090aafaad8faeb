"""Reads Prometheus' text format, as strictly as the comparison needs it."""

import re

SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: -?\d+)?$")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\["\\n])*)"(?:,|$)')
UNESCAPE = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


class Exposition:
    """One scrape: `values` maps (sample name, sorted labels) to a float; `help` and `type` go by family."""

    def __init__(self, text):
        self.values, self.help, self.type = {}, {}, {}
        for line in text.split("\n"):
            self._read(line)

    def _read(self, line):
        if line.startswith("# HELP "):
            _, _, name, self.help[name] = (line + " ").split(" ", 3)
        elif line.startswith("# TYPE "):
            _, _, name, self.type[name] = line.split(" ", 3)
        elif line and not line.startswith("#"):
            match = SAMPLE.match(line)
            if not match:
                raise ValueError(f"not a sample: {line!r}")
            name, labels, value = match.groups()
            key = (name, parse_labels(labels or ""))
            if key in self.values:
                raise ValueError(f"one series twice: {line!r}")
            self.values[key] = float(value)

    def family(self, sample_name):
        """The family a sample belongs to: only those of histograms and summaries have other names than their family."""
        stem = re.sub(r"_(bucket|sum|count)$", "", sample_name)
        return stem if self.type.get(stem) in ("histogram", "summary") else sample_name

    def series(self, family):
        """The samples of one family."""
        return {key: value for key, value in self.values.items() if self.family(key[0]) == family}

    def total(self, sample_name, **labels):
        """The sum over all samples of this name that carry these labels."""
        return sum(v for (n, ls), v in self.values.items() if n == sample_name and labels.items() <= dict(ls).items())


def parse_labels(text):
    """Sorted (name, value) pairs; TorchServe's comma before the closing brace is allowed."""
    pairs, at = [], 0
    while at < len(text):
        match = LABEL.match(text, at)
        if not match:
            raise ValueError(f"bad labels: {text!r}")
        pairs.append((match[1], re.sub(r'\\["\\n]', lambda m: UNESCAPE[m[0]], match[2])))
        at = match.end()
    return tuple(sorted(pairs))
