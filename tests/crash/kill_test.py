#!/usr/bin/env python3
"""kill -9 of brokers and agents with messages on their way: nothing acknowledged is lost or doubled.

An observer outside of all daemons keeps the id of each message for which `sealpost send` ended with
0. A kill counts when at least one acknowledged message had not reached a recipient at that moment.
"""
import os
import sys
import threading
import time
import uuid
from datetime import datetime

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))

from federation import AGENCIES, Federation, wait_for  # noqa: E402
from tap import equal, is_long, main, note  # noqa: E402

KILLS = 500 if is_long() else 50
SENDERS = 4
CASE_SIZE = 400
SEND_SECONDS = 60


def new_id(random):
    value = int(time.time() * 1000) << 80 | 7 << 76 | random.getrandbits(12) << 64 | 2 << 62 \
        | random.getrandbits(62)
    return str(uuid.UUID(int=value))


def milliseconds(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000


class Message:
    def __init__(self, number, message_id, sender, to):
        self.number = number
        self.id = message_id
        self.sender = sender
        self.to = to
        self.case = f"K-{number // CASE_SIZE}"
        self.acknowledged_ms = None


class Observer:
    """Sends without end, and keeps what was acknowledged. Nothing of it lies in a daemon."""

    def __init__(self, f, random):
        self.f = f
        self.random = random
        self.lock = threading.Lock()
        self.messages = []
        self.repeats = 0
        self.failures = []
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._work) for _ in range(SENDERS)]

    def start(self):
        for t in self.threads:
            t.start()

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join()
        assert not self.failures, self.failures[0]

    def _next(self):
        with self.lock:
            sender = self.random.choice(AGENCIES)
            others = [a for a in AGENCIES if a != sender]
            to = self.random.sample(others, self.random.choice((1, 1, 2, 3)))
            message = Message(len(self.messages), new_id(self.random), sender, to)
            self.messages.append(message)
            return message

    def _work(self):
        try:
            while not self.stop.is_set():
                self._send(self._next())
        except AssertionError as e:
            self.failures.append(e)

    def _send(self, m):
        """Repeats until it is acknowledged, as a careful caller does: always with the same id."""
        deadline = time.monotonic() + SEND_SECONDS
        while True:
            result = self.f.cli(m.sender, "send", "--id", m.id, "--to", ",".join(m.to), "--kind",
                                "information", "--subject", f"Number {m.number}", "--text",
                                f"text of {m.number}", "--case", m.case)
            if result.code == 0:
                equal(result.out.strip(), m.id, "printed id")
                m.acknowledged_ms = time.time() * 1000
                return
            if result.code not in (5, 6):
                raise AssertionError(f"send of {m.id} ended with {result.code}: {result.err}")
            with self.lock:
                self.repeats += 1
            if time.monotonic() > deadline:
                raise AssertionError(f"{m.id} was not taken within {SEND_SECONDS} s: {result.err}")
            self.stop.wait(0.1)

    def acknowledged(self):
        with self.lock:
            return sum(1 for m in self.messages if m.acknowledged_ms is not None)


def kill_one(f, name, random):
    """Kills it, lets the others go on for a moment, starts it again; gives the time of the kill."""
    daemon = f.daemon(name)
    at_ms = time.time() * 1000
    daemon.kill()
    until = time.monotonic() + random.choice((0, 0, 0.05, 0.3))
    wait_for(lambda: time.monotonic() >= until, 1, "the moment is over")
    daemon.spawn()
    return at_ms


def kill_many(f, observer, random):
    kills = []
    line = []
    # Which of them count is known only when all has arrived: enough, so that 50 do.
    while len(kills) < 2 * KILLS:
        if not line:
            line = [d.name for d in f.daemons()]
            random.shuffle(line)
        names = [line.pop() for _ in range(min(len(line), random.choice((1, 1, 2, 3))))]
        before = observer.acknowledged()
        kills += [(n, kill_one(f, n, random)) for n in names]
        for n in names:
            f.daemon(n).wait_ready()
        wait_for(lambda b=before: observer.acknowledged() > b or observer.failures, SEND_SECONDS,
                 "messages are taken again")
        assert not observer.failures, observer.failures[0]
        pause = time.monotonic() + random.random() * 0.3
        wait_for(lambda u=pause: time.monotonic() >= u, 1, "some more are on their way")
    return kills


def rows_of(f, agency, box, cases):
    return [m for c in cases for m in f.list(agency, "--box", box, "--case", c, "--limit", "1000")]


def check_recipients(f, messages, cases):
    """(message, recipient) -> when it was stored there; each exactly once, and nothing else."""
    arrived = {}
    for agency in AGENCIES:
        wanted = {m.id for m in messages if agency in m.to}
        rows = rows_of(f, agency, "in", cases)
        ids = [r["id"] for r in rows]
        missing = wanted - set(ids)
        assert not missing, f"{agency} lacks {len(missing)} of {len(wanted)}: {sorted(missing)[:3]}"
        equal(len(ids), len(set(ids)), f"ids at {agency}: {len(ids) - len(set(ids))} stand twice")
        equal(set(ids) - wanted, set(), f"not sent to {agency}")
        for r in rows:
            arrived[r["id"], agency] = milliseconds(r["received"])
    return arrived


def all_delivered(f, messages, cases):
    def undelivered():
        return [(m["id"], r["agency"], r["state"]) for agency in AGENCIES
                for m in rows_of(f, agency, "out", cases) for r in m["recipients"]
                if r["state"] not in ("delivered", "opened")]
    left = []

    def done():
        left[:] = undelivered()
        return not left
    try:
        wait_for(done, 120, "every sender sees delivered")
    except AssertionError as e:
        raise AssertionError(f"{e}: {len(left)} of {len(messages)} messages, such as {left[:3]}") from e


def counted(kills, messages, arrived):
    """Kills at which an acknowledged message had not reached every recipient."""
    spans = [(m.acknowledged_ms, max(arrived[m.id, a] for a in m.to)) for m in messages]
    return [(name, at, sum(1 for begin, end in spans if begin <= at < end)) for name, at in kills]


def check_logs(f, messages, stopped):
    assert stopped, "a daemon did not stop cleanly"
    for d in f.daemons():
        f.audit("verify", d.data, code=0, timeout=120)
    for agency in AGENCIES:
        rows = f.audit("--json", "query", f.agents[agency].data, "--event", "delivered", timeout=120).lines()
        mine = [r["id"] for r in rows if agency in r["recipients"]]
        equal(len(mine), len(set(mine)), f"leaves delivered in the log of {agency}, distinct ones")
        equal(set(mine), {m.id for m in messages if agency in m.to}, f"delivered in the log of {agency}")


def checks(tap):
    # Short pauses, so that the time goes into kills and not into waiting for repetitions.
    with Federation({"answer": "1s", "retry_max": "1s"}) as f:
        f.start()
        observer = Observer(f, tap.random)
        with tap.check(f"{KILLS} kills, every daemon comes back and takes messages", fatal=True):
            observer.start()
            try:
                kills = kill_many(f, observer, tap.random)
            finally:
                observer.end()
        messages = observer.messages
        cases = sorted({m.case for m in messages})
        note(f"{len(messages)} messages acknowledged, {observer.repeats} sends repeated")
        with tap.check("every sender sees each message delivered to all"):
            equal([m.id for m in messages if m.acknowledged_ms is None], [], "never acknowledged")
            all_delivered(f, messages, cases)
        with tap.check("every acknowledged message arrived exactly once at every recipient", fatal=True):
            arrived = check_recipients(f, messages, cases)
        with tap.check(f"at {KILLS} kills or more messages were on their way, every daemon among them"):
            with_some = [(n, c) for n, _, c in counted(kills, messages, arrived) if c > 0]
            note(f"{len(with_some)} of {len(kills)} kills hit with messages on their way, "
                 f"{sum(c for _, c in with_some) / max(1, len(with_some)):.1f} on average")
            assert len(with_some) >= KILLS, f"only {len(with_some)} count"
            equal({n for n, _ in with_some}, {d.name for d in f.daemons()}, "daemons")
        with tap.check("every log holds, and has each delivery once"):
            check_logs(f, messages, f.stop())


if __name__ == "__main__":
    main(checks)
