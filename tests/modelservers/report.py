"""What the comparisons of all servers share: the count of checks, and samples as maps."""

import math


class Report:
    """Counts the checks and prints the failed ones at once."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, what, got, want):
        if got == want:
            self.passed += 1
            return
        self.failed += 1
        print(f"FAILED {what}")
        if isinstance(got, dict) and isinstance(want, dict):
            for key in [key for key in {**got, **want} if got.get(key) != want.get(key)][:8]:
                print(f"       {key}: {got.get(key, 'absent')!r}, but should be {want.get(key, 'absent')!r}")
        else:
            print(f"       {got!r}, but should be {want!r}")

    def close(self, what, got, want):
        """Two maps whose sums were added in different orders."""
        same = {key: math.isclose(got.get(key, math.nan), value, rel_tol=1e-9) for key, value in want.items()}
        self.check(f"{what}: {got} {want}" if not all(same.values()) else what, same, dict.fromkeys(want, True))
        self.check(f"{what}: the series", sorted(got), sorted(want))

    def within(self, what, got, low, high):
        """Values that may differ, each within a range; `got` is a map."""
        outside = {key: value for key, value in got.items() if not low <= value <= high}
        self.check(f"{what} ({low} to {high})", outside, {})


def samples(scrape, name, *labels):
    """The samples of a name, summed up by some of their labels."""
    found = {}
    for (sample, pairs), value in scrape.values.items():
        if sample == name:
            of = dict(pairs)
            key = tuple(of.get(label, "") for label in labels)
            found[key] = found.get(key, 0) + value
    return found


def by_key(rows, value):
    """Rows of a log, summed up by their key."""
    found = {}
    for row in rows:
        found[row.key] = found.get(row.key, 0) + value(row)
    return found


def bound(le):
    return math.inf if le == "+Inf" else float(le)
