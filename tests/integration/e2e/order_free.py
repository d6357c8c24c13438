"""What rows must be, computed from the events that the journal has by their event times alone, in no order: what a
stage must give, too, when nothing came later than the out-of-orderness allows. Only what is easy to compute otherwise
than sluiced does: counts, sums, bounds of sessions."""
import collections
import decimal
import json
import subprocess

SUPPRESSED = 0x2  # RECORD_F_SUPPRESSED: a rule dropped it
VISITS = ("click", "page_view", "session", "conversion")  # types and gap as in windows.py
GAP_MS = 1000


def events(rig, daemon):
    """(receive time, event time, type, fields) of every event in the journal. sluiced must not run."""
    dump = subprocess.Popen([rig.program("sluicectl"), "--json", "journal", "dump", "--dir", daemon.data + "/journal"],
                            stdout=subprocess.PIPE)
    for line in dump.stdout:
        record = json.loads(line)
        if record["kind"] == "event" and not record["flags"] & SUPPRESSED:
            fields = json.loads(record["payload"], parse_float=decimal.Decimal, parse_int=decimal.Decimal)
            yield record["receive_time_ms"], record["event_time_ms"], record["type"], fields
    if dump.wait():
        raise RuntimeError("the journal cannot be read")


class OrderFree:
    """rows: (window, start, end, group, ...) -> (count, sum of amounts)."""

    def __init__(self, rig, daemon):
        self.rows = collections.defaultdict(lambda: (0, decimal.Decimal(0)))
        self.longest_ms, self.count, users = 0, 0, collections.defaultdict(list)
        for received, at, kind, fields in events(rig, daemon):
            self.count += 1
            self.longest_ms = max(self.longest_ms, received - at)
            if kind in ("click", "page_view"):
                self.tumbling("pages", at, 1000, (fields.get("page"),))
            if kind == "transaction":
                self.tumbling("pay", at, 2000, (fields.get("country"), fields.get("currency")),
                              decimal.Decimal(fields.get("amount") or 0))
            if kind in ("log", "platform"):
                attributes = fields.get("attributes") or {}
                parts = ((attributes.get("request") or {}).get("pod"), attributes.get("http.status_code"),
                         attributes.get("status"))
                self.tumbling("pods", at, 2000, (fields.get("source"), *(p if p is None else str(p) for p in parts)))
            self.tumbling("extra", at, 1000, (fields.get("country"),), decimal.Decimal(fields.get("amount") or 0))
            for back in range(4):
                self.add("load", (at // 1000 - back) * 1000, 4000, (fields.get("source"),))
            if kind in VISITS:
                users[fields.get("user_id")].append(at)
        for user, times in users.items():
            self.sessions(user, sorted(times))

    def add(self, window, start, size, group, amount=decimal.Decimal(0)):
        key = (window, start, start + size, group)
        count, total = self.rows[key]
        self.rows[key] = (count + 1, total + amount)

    def tumbling(self, window, at, size, group, amount=decimal.Decimal(0)):
        self.add(window, at // size * size, size, group, amount)

    def sessions(self, user, times):
        first = 0
        for i, at in enumerate(times):
            if i + 1 == len(times) or times[i + 1] - at > GAP_MS:
                self.rows[("visits", times[first], at + GAP_MS, (user,))] = (i + 1 - first, decimal.Decimal(0))
                first = i + 1

    def check(self, windows, groups):
        """windows: the comparison whose rows are those of the sinks."""
        have, again = {}, 0
        for row in windows.rows:
            if "alert_id" in row or row["window"] not in ("pages", "pay", "load", "pods", "visits", "extra"):
                continue
            key = (row["window"], row["start_ms"], row["end_ms"], tuple(row[g] for g in groups[row["window"]]))
            again += key in have or row["revision"] or row["other"]
            have[key] = (row["count"], decimal.Decimal(row.get("sum_amount") or 0))
        windows.expect_same(f"rows = computed from {self.count} accepted events in no order", have, dict(self.rows),
                            again)
