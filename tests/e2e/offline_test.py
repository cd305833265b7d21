#!/usr/bin/env python3
"""10,000 messages wait for an agency that is offline: bounded memory, nobody else delayed, all
delivered in order and once when it returns."""
import os
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))

from federation import Federation, MemoryWatch, wait_for  # noqa: E402
from local import Connection  # noqa: E402
from tap import equal, main, note  # noqa: E402

MIB = 1 << 20
COUNT = 10_000
CONNECTIONS = 48
CASE_SIZE = 500


def flood(f, count):
    """Sends `count` messages from EE.POLICE over many connections; gives the ids."""
    numbers = iter(range(count))
    lock = threading.Lock()
    ids = []
    failures = []

    def work():
        connection = Connection(f.socket("EE.POLICE"))
        try:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                message = connection.send(["LT.CUSTOMS"], f"Number {number}", "x" * 700,
                                          case=f"Q-{number // CASE_SIZE}")
                with lock:
                    ids.append(message)
        except Exception as e:  # told by the main thread
            failures.append(e)
        finally:
            connection.close()
    threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, f"{len(failures)} connections failed: {failures[0]!r}"
    return ids


def measure(f, times, stop=None):
    """Seconds of exchanges between others over the same brokers; until `stop` when it is given."""
    taken = []
    while len(taken) < times or (stop is not None and not stop.is_set()):
        begun = time.monotonic()
        f.send("LV.POLICE", "LT.POLICE", "--wait", "delivered", "--timeout", "20s")
        taken.append(time.monotonic() - begun)
    return sorted(taken)


def describe(name, taken):
    note(f"{name}: {len(taken)} exchanges, p50 {taken[len(taken) // 2] * 1000:.0f} ms, "
         f"longest {taken[-1] * 1000:.0f} ms")


def ids_of(f, agency, event):
    """Ids of the leaves of that event, in the order of the log."""
    rows = f.audit("--json", "query", f.agents[agency].data, "--event", event, code=0, timeout=120)
    return [r["id"] for r in rows.lines()]


def inbox(f, agency):
    return int(f.cli(agency, "--json", "status", code=0).json()["inbox"])


def checks(tap):
    with Federation() as f:
        f.start(*[d.name for d in f.daemons() if d.name != "LT.CUSTOMS"])
        baseline = measure(f, 30)
        describe("before", baseline)
        during = []
        with MemoryWatch(f.daemons()) as watch:
            with tap.check(f"{COUNT} messages are taken for an agency that is offline", fatal=True):
                stop = threading.Event()
                other = threading.Thread(target=lambda: during.extend(measure(f, 5, stop)))
                other.start()
                begun = time.monotonic()
                try:
                    sent = flood(f, COUNT)
                    note(f"sent at {COUNT / (time.monotonic() - begun):.0f} a second")
                    equal(len(set(sent)), COUNT, "distinct ids")
                    wait_for(lambda: int(f.cli("EE.POLICE", "--json", "status", code=0).json()
                                         ["outbox_pending"]) == 0, 180, "the sender's broker has all")
                finally:
                    stop.set()
                    other.join()
                wait_for(lambda: f.audit("--json", "query", f.brokers["vilnius"].data, "--to", "LT.CUSTOMS",
                                         "--event", "accepted", timeout=120).out.count("\n") == COUNT,
                         180, "the last broker has all")
            with tap.check("others' exchanges went on meanwhile"):
                describe("during", during)
                assert len(during) >= 5 and during[-1] < 10, f"longest {during[-1]:.1f} s"
            with tap.check("a full queue delays nobody else"):
                after = measure(f, 30)
                describe("with the queue", after)
                p90 = len(after) * 9 // 10
                assert after[p90] <= 2 * baseline[p90] + 0.05, \
                    f"p90 {after[p90] * 1000:.0f} ms, before {baseline[p90] * 1000:.0f} ms"
            with tap.check("when it returns all come"):
                begun = time.monotonic()
                f.start("LT.CUSTOMS")
                wait_for(lambda: inbox(f, "LT.CUSTOMS") >= COUNT, 180, "all have come")
                note(f"drained at {COUNT / (time.monotonic() - begun):.0f} a second")
            with tap.check("each exactly once, in the order in which they were sent"):
                equal(inbox(f, "LT.CUSTOMS"), COUNT, "messages in the inbox")
                rows = [m["id"] for case in range(COUNT // CASE_SIZE)
                        for m in f.list("LT.CUSTOMS", "--case", f"Q-{case}", "--limit", "1000")]
                equal(len(rows), COUNT, "rows")
                equal(set(rows), set(sent), "ids")
                order = [i for i in ids_of(f, "EE.POLICE", "submitted")]
                equal(ids_of(f, "LT.CUSTOMS", "delivered"), order, "order")
            with tap.check("the sender learns of each"):
                wait_for(lambda: len(set(ids_of(f, "EE.POLICE", "delivered"))) == COUNT, 120,
                         "all are delivered at the sender")
        with tap.check("memory stayed bounded: 256 MiB a broker, 128 MiB an agent"):
            note("peak memory in MiB: "
                 + ", ".join(f"{n} {p / MIB:.0f}" for n, p in watch.peak.items()))
            for name, peak in watch.peak.items():
                bound = 256 if name in f.brokers else 128
                assert peak < bound * MIB, f"{name} took {peak / MIB:.0f} MiB of {bound}"
        with tap.check("every daemon stops cleanly, every log holds"):
            assert f.stop()
            for d in f.daemons():
                f.audit("verify", d.data, code=0, timeout=120)


if __name__ == "__main__":
    main(checks)
