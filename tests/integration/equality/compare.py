"""Our rows against Flink's, row by row: integers and decimals exactly, doubles within 1e-9 relative, distinct counts
and quantiles within the bounds of their sketches."""
import json
import math
from decimal import Decimal

MICRO = Decimal(1000000)
FEW = 16  # so many different values are counted, not estimated


def ours(path, fields):
    """(start, end, key parts) to the list of revisions of merged rows, by window name."""
    found = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            row = json.loads(line, parse_float=Decimal)
            name = row.get("window")
            if name not in fields:
                continue
            key = (row["start_ms"], row["end_ms"], tuple(row.get(x) for x in fields[name]))
            found.setdefault(name, {}).setdefault(key, []).append(row)
    return found


def closed_until(rows):
    """End of the last window that has come out: all that end before it have, too."""
    return max((row["end_ms"] for found in rows.values() for revisions in found.values() for row in revisions),
               default=0)


def rolled(found, size_ms, until_ms):
    """What the last revisions of one window's rows add up to in windows of `size_ms` that are over by then. What does
    not add up is left out."""
    sums = {}
    for (start, _, group), revisions in found.items():
        at, row = start - start % size_ms, revisions[-1]
        if at + size_ms > until_ms:
            continue
        to = sums.setdefault((at, at + size_ms, group), {"revision": 0, "count": 0, "sum_amount": Decimal(0)})
        to["count"] += row["count"]
        to["sum_amount"] += Decimal(str(row.get("sum_amount") or 0))
        for name, add in (("sum_value", lambda a, b: a + b), ("min_value", min), ("max_value", max)):
            have, more = to.get(name), row.get(name)
            to[name] = more if have is None else have if more is None else add(have, more)
    return {key: [row] for key, row in sums.items()}


def near(a, b, relative):
    return a == b or abs(a - b) <= relative * max(abs(a), abs(b))


class Comparison:
    """What differs, with the first few cases, and how far the sketches are off."""

    def __init__(self, value=None, amount=False, distinct="user_id", edges=None, counted=None):
        self.value, self.amount, self.distinct, self.edges, self.counted = value, amount, distinct, edges, counted
        self.rows, self.bad, self.open, self.several, self.examples = 0, 0, 0, 0, []
        self.distinct_error, self.quantile_worst = [], 0.0

    def wrong(self, key, what):
        self.bad += 1
        if len(self.examples) < 10:
            self.examples.append(f"{key}: {what}")

    def doubles(self, key, mine, theirs):
        for name in ("sum", "min", "max"):
            have = mine.get(f"{name}_{self.value}")
            if theirs["values"] == 0:
                if have is not None and name != "sum":
                    self.wrong(key, f"{name}: {have}, Flink has no value")
            elif have is None or not near(float(have), theirs[name], 1e-9):
                self.wrong(key, f"{name}: {have} / {theirs[name]}")

    def sketches(self, key, mine, theirs):
        if "distinct" not in theirs:
            return
        have = mine.get("distinct_" + self.distinct) or 0
        off = abs(have - theirs["distinct"])
        if theirs["distinct"] >= 100:
            self.distinct_error.append(off / theirs["distinct"])
        if off > (0 if theirs["distinct"] <= FEW else max(1, 0.05 * theirs["distinct"])):
            self.wrong(key, f"distinct {self.distinct}: {have} / {theirs['distinct']}")
        for name in ("p50", "p95", "p99"):
            have = mine.get(f"{name}_{self.value}")
            if theirs["values"] == 0:
                continue
            if have is None or not near(float(have), theirs[name], 0.0101):
                self.wrong(key, f"{name}: {have} / {theirs[name]}")
            else:
                self.quantile_worst = max(self.quantile_worst, abs(float(have) / theirs[name] - 1)
                                          if theirs[name] else 0.0)

    def row(self, key, mine, theirs):
        self.rows += 1
        self.several += theirs["count"] > 1
        if mine["count"] != theirs["count"]:
            self.wrong(key, f"count: {mine['count']} / {theirs['count']}")
        if self.amount:
            have = mine.get("sum_amount")
            exact = Decimal(str(have)) * MICRO if have is not None else Decimal(0)
            if exact != theirs["micros"]:
                self.wrong(key, f"sum of amounts: {have} / {theirs['micros']} millionths")
        if self.value:
            self.doubles(key, mine, theirs)
            self.sketches(key, mine, theirs)
        if self.edges:
            have = (mine.get(self.counted), mine.get("first_" + self.edges), mine.get("last_" + self.edges))
            if have != (theirs["counted"], theirs["first"], theirs["last"]):
                self.wrong(key, f"{self.counted}, first, last {self.edges}: {have} / {theirs}")

    def all(self, mine, theirs, closed_ms):
        """Last firing against last revision; revisions must be dense from 0. At the end of its input Flink closes
        everything; the journal's watermark stands at `closed_ms`: later windows are left out."""
        for key, fired in theirs.items():
            rows = mine.get(key)
            if key[1] > closed_ms:
                self.open += 1
                continue
            if not rows:
                self.wrong(key, "only Flink has it")
                continue
            revisions = [r["revision"] for r in rows]
            if revisions != list(range(len(revisions))):
                self.wrong(key, f"revisions {revisions}")
            self.row(key, rows[-1], fired[-1])
        for key in mine:
            if key not in theirs:
                self.wrong(key, "only sluice has it")

    def text(self):
        out = f"rows={self.rows} several={self.several} different={self.bad} open={self.open}"
        if self.distinct_error:
            rms = math.sqrt(sum(e * e for e in self.distinct_error) / len(self.distinct_error))
            out += f" distinct_rms={rms:.4f} ({len(self.distinct_error)} rows)"
        if self.value:
            out += f" quantile_worst={self.quantile_worst:.4f}"
        return out + "".join("\n    " + x for x in self.examples)
