"""How the sender of sluice_client.py finds out what was lost, and how long it waits (docs/protocol.md). Seconds of a
clock that never goes back."""
RTO_MIN, RTO_MAX, RTO_FIRST, GRANULARITY = 0.01, 5.0, 1.0, 0.001
LEAST_FOR = 60.0  # seconds that the least round trip counts, at least
WIDENINGS, PATIENCE = 10, 16  # PATIENCE: round trips with needed repeats, then a wide window is tried narrow again
SHARE = 4  # events that may be repeated for each one that was settled
SIGNS = 3  # of needless repeats that one event gives at most
LOWEST = 32  # tries up to which the lowest event goes before what was tried less often
NEVER = float("inf")
WINDOW = 1024  # events from the lowest one that is not settled on


class Slot:
    __slots__ = ("again", "datagram", "event", "sends", "sent_at", "tries")

    def __init__(self, event):
        # datagram: in which it was last; sends: how often it left; tries: how often it was to leave; again: more than
        # one copy may have left, or sent_at be that of none
        self.event, self.sent_at, self.sends, self.tries, self.datagram, self.again = event, 0.0, 0, 0, 0, False


class Rto:
    """Round trips, and how long to wait for an answer: RFC 6298 with the protocol's bounds, the first wait after RFC
    8985, 7.2."""

    def __init__(self):
        self.srtt, self.rttvar, self.latest, self.base = 0.0, 0.0, 0.0, RTO_FIRST
        self.least_of, self.least_since = [NEVER, NEVER], -NEVER  # of this period and the one before
        self.timeouts = 0  # since the latest answer
        self.doubted = False  # something was repeated too early since the latest measurement

    def doubled(self, doublings):
        return min(self.base * 2 ** min(doublings, 9), RTO_MAX)

    def timeout(self):
        return self.doubled(max(0, self.timeouts - 1))

    def wait(self):
        """How long nothing may be answered. First, since a probe costs little, two round trips."""
        if self.timeouts or not self.srtt:
            return self.timeout()
        return min(max(2 * self.srtt, GRANULARITY), self.base)

    def least(self):
        least = min(self.least_of)
        return 0.0 if least == NEVER else least

    def measured(self, rtt, now):
        """A round trip of something that was sent once only (Karn)."""
        rtt = min(rtt, RTO_MAX)
        if not self.srtt:
            self.srtt, self.rttvar = max(rtt, 1e-9), rtt / 2
        else:
            self.rttvar += (abs(self.srtt - rtt) - self.rttvar) / 4
            self.srtt += (rtt - self.srtt) / 8
        self.base = min(max(self.srtt + max(4 * self.rttvar, GRANULARITY), RTO_MIN), RTO_MAX)
        if now - self.least_since >= LEAST_FOR:
            self.least_of, self.least_since = [NEVER, self.least_of[0]], now
        self.least_of[0] = min(self.least_of[0], rtt)
        self.latest, self.timeouts, self.doubted = rtt, 0, False

    def answered(self):
        """When repeats came too early, this may be the answer to what was sent long before: the wait stays long until
        it is measured, or it would never be."""
        if not self.doubted:
            self.timeouts = 0

    def timed_out(self):
        self.timeouts = min(self.timeouts + 1, 10)


class Rack:
    """What was lost, told from what was answered: RACK (RFC 8985, 6.2), for datagrams in the place of segments. A
    datagram is lost if one that left after it was answered and its own answer is overdue by a reordering window.
    Datagrams have numbers in the order in which they left, repeats too: so a lost repeat shows as well."""

    def __init__(self, rto):
        self.rto = rto
        self.answered = 0  # number of the latest datagram that was answered
        self.credit = 0  # events that may be repeated
        self.widenings, self.patience, self.widened_at, self.round_at = 0, 0, -NEVER, -NEVER
        # by sequence % WINDOW: the latest one that was repeated; negative: an answer more tells nothing
        self.repeated = [0] * WINDOW
        self.signs = [0] * WINDOW  # how many answers more to it tell that a repeat was needless

    def wait(self):
        """How long after it was sent an event is lost, if something later was answered. The window is a quarter of the
        least round trip, and is doubled while it proves too small, but never beyond the time-out: answers wait for the
        disk, and what is in another partition may be durable much later."""
        if not self.rto.srtt:
            return self.rto.base
        window = max(self.rto.least() / 4, GRANULARITY) * 2 ** self.widenings
        return max(self.rto.latest, self.rto.srtt) + min(window, self.rto.base)

    def premature(self, now):
        """Something was repeated that was not lost: once in a round trip the window grows."""
        self.rto.doubted, self.patience = True, PATIENCE
        if now - self.widened_at >= self.rto.srtt:
            self.widenings, self.widened_at = min(self.widenings + 1, WIDENINGS), now

    def spent(self, count):
        """So many events are repeated, or were without need."""
        self.credit = max(0, self.credit - count)

    def needed(self, now):
        """A repeat was answered, and as far as is known there was need of it."""
        if now - self.round_at < self.rto.srtt:
            return
        self.round_at = now
        if self.patience:
            self.patience -= 1
            if not self.patience:
                self.widenings = 0

    def mark_repeated(self, sequence):
        at = sequence % WINDOW
        self.signs[at] = min(self.signs[at] + 1, SIGNS) if abs(self.repeated[at]) == sequence else 1
        self.repeated[at] = sequence

    def repeated_twice(self, sequences):
        for sequence in sequences:
            if self.repeated[sequence % WINDOW] == sequence:
                self.repeated[sequence % WINDOW] = -sequence

    def settled_again(self, sequence, base, now):
        """An answer to what is settled. Of each event only a few tell something, and only while it was settled lately:
        answers may come twice, and be very late."""
        at = sequence % WINDOW
        if self.repeated[at] == -sequence:
            self.repeated[at] = sequence
        elif self.repeated[at] == sequence and sequence + WINDOW >= base and self.signs[at]:
            self.signs[at] -= 1
            self.spent(SHARE)
            self.premature(now)

    def settled(self, count, most):
        self.credit = min(self.credit + SHARE * count, most)


def runs_of(lost, base, credit):
    """Runs of consecutive sequences from (sequence, tries) in order. If not all may be repeated, what was tried seldom
    goes first (at most 2, 4, 8 times): the events of a partition that does not answer must not take from the others
    what may be repeated. The lowest event, base, goes with them for long, since the window waits for it."""
    enough = credit >= len(lost)

    def turn(sequence, tries):
        if enough or (sequence == base and tries <= LOWEST):
            return 1
        return max(1, tries - 1).bit_length()

    runs, last = [], None
    for at, sequence in sorted((turn(*event), event[0]) for event in lost):
        if last == (at, sequence - 1):
            runs[-1].append(sequence)
        else:
            runs.append([sequence])
        last = at, sequence
    return runs
