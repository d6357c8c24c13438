"""Scenarios for rules with state: events made so that it is known which alert each must give, and the program that
sends them. What was lost on the way (sluiced was down) is seen in the journal; what must alert then is decided by what
is there."""
import collections
import json
import subprocess
import sys
import uuid

from daemon import now_ms

HEAD = "rules:\n"
BUSY = """
- id: busy-user
  when: {type: {in: [click, page_view]}}
  by: user_id
  count: {at_least: 5, within: 10s}
  suppress: 5s
  then: [alert]
- id: busy-country
  when: {type: click}
  by: [country, device]
  distinct: {field: page, at_least: 10, within: 20s}
  suppress: 3s
  then: [alert]
"""
ROUTED = "rules.routed"
ROUTE = f"""
- id: e2e-route
  when: {{type: log}}
  then: {{route: {ROUTED}}}
"""
COUNT = """
- id: e2e-count
  title: Five visits VERSION
  when: {type: {in: [click, page_view]}, page: {prefix: /e2e/count}}
  by: user_id
  count: {at_least: 5, within: 60s}
  suppress: 30m
  then: [alert]
"""
REST = """
- id: e2e-cards
  when: {type: transaction, merchant: e2e-cards}
  by: ip
  distinct: {field: card, at_least: 4, within: 60s}
  suppress: 30m
  then: [alert, tag]
- id: e2e-steps
  by: user_id
  sequence:
    within: 60s
    steps:
      - {name: look, when: {type: click, page: /e2e/look}}
      - {not: {type: click, page: /e2e/cancel}}
      - {name: cart, when: {type: page_view, page: /e2e/cart}}
      - {name: pay, when: {type: transaction, merchant: e2e-steps}}
  then: [alert]
- id: e2e-once
  when: {type: page_view, page: /e2e/once}
  by: user_id
  suppress: 30m
  then: [alert]
"""
SUM = """
- id: e2e-sum
  when: {type: transaction, merchant: e2e-sum}
  by: card
  sum: {field: amount, at_least: 1000, within: 60s}
  suppress: 30m
  then: [alert]
"""
SHADOWED = ("e2e-cards", "e2e-sum")  # whose key is not the events' partition key


def rules_text(version, with_sum):
    """The first rule's title alone changes with the version: it keeps its state."""
    return HEAD + BUSY + ROUTE + COUNT.replace("VERSION", str(version)) + REST + (SUM if with_sum else "")


class Scenario:
    """Events under one key of one rule. least: so many of them give the alert; None: all but `cancel`, which must not
    be there."""

    def __init__(self, rule, key, events, least=None, cancel=None):
        self.rule, self.key, self.events, self.least, self.cancel = rule, key, events, least, cancel
        self.ids = [e["event_id"] for e in events]

    def alerts(self, found):
        """Whether these ids give an alert."""
        have = [i for i in self.ids if i in found and i != self.cancel]
        if self.least is not None:
            return len(have) >= self.least
        return len(have) == len(self.ids) - (self.cancel is not None) and self.cancel not in found


class Scenarios:
    def __init__(self, rig, sender, target):
        self.rig, self.all, self.number = rig, [], 0
        self.sender = subprocess.Popen([*sender.run, sys.executable, __file__, *target], stdin=subprocess.PIPE,
                                       text=True)
        rig.children.append(self.sender)

    def send(self, *events, twice=False):
        """Each in a datagram of its own."""
        for event in events * (2 if twice else 1):
            self.sender.stdin.write(json.dumps(event) + "\n")
        self.sender.stdin.flush()

    def event(self, kind, at_ms, **fields):
        return {"type": kind, "event_id": str(uuid.UUID(int=self.rig.random.getrandbits(128), version=4)),
                "ts": at_ms, **fields}

    def made(self, rule, key, events, **more):
        self.all.append(Scenario(rule, key, events, **more))
        return events

    def count(self):
        user, now = self.user(), now_ms()
        return self.made("e2e-count", f"user_id={user}", [
            self.event("click" if i % 2 else "page_view", now + i, user_id=user, page=f"/e2e/count/{i}")
            for i in range(7)], least=5)

    def user(self):
        self.number += 1
        return f"e2e-{self.number}"

    def cards(self):
        self.number += 1
        ip, now = f"10.7.{self.number // 250}.{self.number % 250}", now_ms()
        return self.made("e2e-cards", f"ip={ip}", [
            self.event("transaction", now + i, user_id=self.user(), amount=1.25, ip=ip, card=f"card-{i}",
                       merchant="e2e-cards") for i in range(5)], least=4)

    def steps(self, cancelled):
        """In another order than that of event time."""
        user, now = self.user(), now_ms()
        events = [self.event("page_view", now - 20, user_id=user, page="/e2e/cart"),
                  self.event("click", now - 40, user_id=user, page="/e2e/look"),
                  self.event("transaction", now - 10, user_id=user, amount=1, merchant="e2e-steps")]
        if cancelled:
            events.append(self.event("click", now - 30, user_id=user, page="/e2e/cancel"))
        return self.made("e2e-steps", f"user_id={user}", events, cancel=events[-1]["event_id"] if cancelled else None)

    def once(self):
        user, now = self.user(), now_ms()
        return self.made("e2e-once", f"user_id={user}", [
            self.event("page_view", now + i, user_id=user, page="/e2e/once") for i in range(3)], least=1)

    def sum(self):
        self.number += 1
        card, now = f"sum-{self.number}", now_ms()
        return self.made("e2e-sum", f"card={card}", [
            self.event("transaction", now + i, user_id=self.user(), amount=400.000001, card=card,
                       merchant="e2e-sum") for i in range(3)], least=3)

    def round(self, with_sum=False):
        """One of each, in datagrams between each other's."""
        lists = [self.count(), self.cards(), self.steps(False), self.steps(True), self.once()]
        lists += [self.sum()] if with_sum else []
        order = [i for i, events in enumerate(lists) for _ in events]
        self.rig.random.shuffle(order)
        for i in order:
            self.send(lists[i].pop(0), twice=self.rig.random.random() < 0.3)

    def wanted(self, events, shadows):
        """(rule, key) of the alerts that must be there, of what the journal has; and how many scenarios were cut."""
        want, cut = collections.Counter(), 0
        for s in self.all:
            found = shadows if s.rule in SHADOWED else events
            cut += any(i not in found for i in s.ids)
            if s.alerts(found):
                want[(s.rule, s.key)] += 1
        return want, cut


def main(host, port):
    """Inside the sender's namespace: lines to datagrams."""
    import socket
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for line in sys.stdin:
        out.sendto(line.encode(), (host, int(port)))


if __name__ == "__main__":
    main(*sys.argv[1:])
