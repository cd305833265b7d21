#!/usr/bin/env python3
"""Bad input on the wire to a live broker: each refused with its code, the broker alive and serving.

The peer is tests/hostile/peer.c, which has the real keys of an agency whose own agent is stopped.
"""
import os
import re
import socket
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))

from federation import Federation, program, run, wait_for  # noqa: E402
from tap import equal, main, note  # noqa: E402

# Fault: (outcome, code, does it get a leaf of its own). Well-formed, authenticated ones do.
FAULTS = {
    "bad-signature": ("refused", "bad-signature", True),
    "bad-digest": ("refused", "bad-digest", False),
    "altered-part": ("refused", "bad-digest", True),
    "unknown-field": ("refused", "unknown-field", False),
    "non-canonical": ("refused", "non-canonical", False),
    "malformed": ("refused", "malformed", False),
    "big-envelope": ("refused", "too-large", False),
    "too-large": ("refused", "too-large", False),
    "version": ("refused", "version", False),
    "wrong-usage": ("refused", "wrong-usage", False),
    "not-a-recipient": ("refused", "not-a-recipient", True),
    "expired": ("refused", "expired", True),
    "level-ceiling": ("refused", "level-ceiling", True),
    "handling-not-allowed": ("refused", "handling-not-allowed", True),
    "unknown-agency": ("refused", "unknown-agency", True),
    "clock": ("retry", "clock", False),
}
TO = "LT.POLICE"


class Line:
    """One line of the hostile peer."""

    def __init__(self, text):
        self.action, self.outcome, self.code, self.id, self.receipt = text.split()


def hostile_peer():
    """Built beside the programs."""
    built = os.path.dirname(os.path.dirname(os.path.realpath(program("sealpost-broker"))))
    path = os.path.join(built, "tests", "hostile", "hostile-peer")
    assert os.path.exists(path), f"{path} is not built"
    return path


def peer(f, agency, *actions):
    result = run(hostile_peer(), f.dir, agency, "tallinn", *actions, code=0, timeout=120)
    return [Line(text) for text in result.out.splitlines()]


def only(lines, action):
    found = [line for line in lines if line.action == action]
    equal(len(found), 1, f"answers to {action}")
    return found[0]


class Broker:
    """What must hold after every attack: the same process, and it serves."""

    def __init__(self, f):
        self.f = f
        self.daemon = f.brokers["tallinn"]
        self.pid = self.daemon.pid

    def serves(self):
        assert self.daemon.alive(), "the broker has ended:\n" + self.daemon.last_log()
        equal(self.daemon.pid, self.pid, "process")
        self.f.send("EE.CUSTOMS", "LT.CUSTOMS", "--wait", "delivered", "--timeout", "20s")

    def leaves(self, event, broker="tallinn"):
        result = self.f.audit("--json", "query", self.f.brokers[broker].data, "--event", event)
        return result.lines()


def faults(tap, f, broker):
    for fault, (outcome, code, has_leaf) in FAULTS.items():
        with tap.check(f"{fault}: {outcome} with {code}; then it serves the same peer"):
            to = "EE.NAVY" if fault == "unknown-agency" else TO
            lines = peer(f, "EE.POLICE", f"{fault}:{to}", f"good:{TO}")
            equal(lines[0].outcome, "up", "connection")
            got = only(lines, fault)
            equal((got.outcome, got.code), (outcome, code), "answer")
            equal(got.receipt != "-", has_leaf, "a receipt of the refusal")
            equal(only(lines, "good").outcome, "committed", "the good one after it")
            if has_leaf:
                codes = [r["code"] for r in broker.leaves("refused") if r["id"] == got.id]
                equal(codes, [code], "leaves of the refusal")
            broker.serves()


def replays(tap, f, broker):
    kept = f.scratch("kept")
    with tap.check("the same bytes from the same peer: the first answer again, one effect"):
        lines = peer(f, "EE.POLICE", f"good:{TO}", "repeat", f"save:{kept}")
        first, again = only(lines, "good"), only(lines, "repeat")
        equal((again.outcome, again.id, again.receipt), ("committed", first.id, first.receipt), "answer")
        wait_for(lambda: f.find(TO, first.id), 20, "it arrives")
        equal(len([r for r in broker.leaves("accepted") if r["id"] == first.id]), 1, "leaves")
    with tap.check("the same bytes in another connection: the first answer again"):
        again = only(peer(f, "EE.POLICE", f"load:{kept}"), "load")
        equal((again.outcome, again.receipt), ("committed", first.receipt), "answer")
    with tap.check("the same id with other bytes: replay, and the evidence is logged"):
        lines = peer(f, "EE.POLICE", f"good:{TO}", f"same-id:{TO}")
        got = only(lines, "same-id")
        equal((got.outcome, got.code, got.id), ("refused", "replay", only(lines, "good").id), "answer")
        equal([r["code"] for r in broker.leaves("refused") if r["id"] == got.id], ["replay"], "leaves")
    with tap.check("the same bytes from another peer: replay"):
        f.agents["EE.CUSTOMS"].stop()
        got = only(peer(f, "EE.CUSTOMS", f"load:{kept}"), "load")
        f.agents["EE.CUSTOMS"].start()
        equal((got.outcome, got.code, got.id), ("refused", "replay", first.id), "answer")
        broker.serves()
    equal(len([m for m in f.list(TO, "--limit", "1000") if m["id"] == first.id]), 1, "messages")


def two_keys(tap, f, broker):
    with tap.check("two recipients given different keys: one reads it, the other refuses bad-commitment"):
        # Sorted, so that the last one is LV.POLICE; riga tells its refusal back.
        lines = peer(f, "EE.POLICE", "bad-commitment:LT.POLICE,LV.POLICE", "control", "control",
                     "control", "control")
        sent = only(lines, "bad-commitment")
        equal(sent.outcome, "committed", "answer of the broker, which cannot see it")
        said = {(c.outcome, c.id, c.receipt) for c in lines if c.action == "control"}
        assert ("refused", "LV.POLICE", "bad-commitment") in said, f"controls: {said}"
        wait_for(lambda: f.find("LT.POLICE", sent.id), 20, "it is there at LT.POLICE")
        equal(f.find("LV.POLICE", sent.id), None, "at LV.POLICE")
        equal([r["code"] for r in f.audit("--json", "query", f.agents["LV.POLICE"].data, "--event",
                                          "refused").lines() if r["id"] == sent.id], ["bad-commitment"],
              "leaves at LV.POLICE")
        broker.serves()


def odd_frames(tap, f, broker):
    for action in ("garbage", "frame-field"):
        with tap.check(f"{action}: dropped; the same connection is served"):
            equal(only(peer(f, "EE.POLICE", action, f"good:{TO}"), "good").outcome, "committed", "answer")
            broker.serves()
    with tap.check("big-frame: the connection is cut; the next one is served"):
        lines = peer(f, "EE.POLICE", "big-frame", f"good:{TO}", "repeat", "repeat")
        outcomes = [line.outcome for line in lines if line.action in ("good", "repeat")]
        assert outcomes[-1] == "committed", f"outcomes {outcomes}"
        broker.serves()
    for action in ("hello-version", "hello-name"):
        with tap.check(f"{action}: nothing is taken from that connection"):
            lines = peer(f, "EE.POLICE", action, f"good:{TO}")
            equal(only(lines, "good").outcome, "none", "answer")
            equal(only(peer(f, "EE.POLICE", f"good:{TO}"), "good").outcome, "committed",
                  "answer in the next connection")
            broker.serves()


def strangers(tap, f, broker):
    with tap.check("a transport key that nobody registered: refused and counted"):
        equal(peer(f, "EE.POLICE", "--stranger")[0].outcome, "refused", "connection")
        wait_for(lambda: re.search(r"event=refused-input peer=unknown error=not-allowed count=[1-9]",
                                   broker.daemon.last_log(200)), 20, "it is counted in the log")
        broker.serves()
    with tap.check("connections that speak another protocol, or nothing, disturb nobody"):
        host, port = f.endpoint("tallinn").removeprefix("tcp://").rsplit(":", 1)
        held = []
        for i in range(200):
            s = socket.create_connection((host, int(port)), timeout=5)
            if i % 3 == 0:
                s.sendall(b"GET / HTTP/1.1\r\n\r\n")
            elif i % 3 == 1:
                s.sendall(tap.random.randbytes(200))
            held.append(s)
        broker.serves()
        for s in held:
            s.close()
        broker.serves()


def summaries(tap, f, broker):
    with tap.check("what got no leaf of its own is summed up: one leaf for each peer and minute"):
        def summed():
            rows = broker.leaves("summary")
            return rows if {"EE.POLICE", "unknown"} <= {r["from"] or "unknown" for r in rows} else None
        rows = wait_for(summed, 90, "a summary for EE.POLICE and one for strangers")
        note("; ".join(f"{r['from'] or 'unknown'}: {r.get('count')}" for r in rows))


def checks(tap):
    with Federation() as f:
        f.start(*[d.name for d in f.daemons() if d.name != "EE.POLICE"])
        broker = Broker(f)
        strangers(tap, f, broker)
        odd_frames(tap, f, broker)
        faults(tap, f, broker)
        replays(tap, f, broker)
        two_keys(tap, f, broker)
        summaries(tap, f, broker)
        with tap.check("the log of the broker holds, and every daemon stops cleanly"):
            f.audit("verify", broker.daemon.data, code=0)
            assert f.stop()


if __name__ == "__main__":
    main(checks)
