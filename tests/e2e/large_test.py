#!/usr/bin/env python3
"""A large attachment through three brokers: identical, in bounded memory of every daemon."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))

from federation import Federation, MemoryWatch, sha256_file, wait_for  # noqa: E402
from tap import equal, is_long, main, note  # noqa: E402

MIB = 1 << 20
AGENT_MAX = 128 * MIB
BROKER_MAX = 256 * MIB


def write_random(path, size, random):
    with open(path, "wb") as out:
        for _ in range(size // MIB):
            out.write(random.randbytes(MIB))


def check_memory(watch, f):
    note("peak memory in MiB: " + ", ".join(f"{n} {p / MIB:.0f}" for n, p in watch.peak.items()))
    for name, peak in watch.peak.items():
        bound = BROKER_MAX if name in f.brokers else AGENT_MAX
        assert 0 < peak < bound, f"{name} took {peak / MIB:.0f} MiB, the bound is {bound / MIB:.0f}"


def bytes_at(broker):
    """Of parts, whole and begun."""
    total = 0
    for place, _, names in os.walk(os.path.join(broker.data, "parts")):
        for name in names:
            try:
                total += os.stat(os.path.join(place, name)).st_blocks * 512
            except FileNotFoundError:
                pass  # it got its name just now
    return total


def kill_within(f, big, attempt):
    """Sends the file anew, kills riga when it has some of it; true when it had not all of it."""
    with open(big, "r+b") as out:
        out.write(b"another file, so another part %d" % attempt)
    size = os.path.getsize(big)
    digest = sha256_file(big)
    riga = f.brokers["riga"]
    before = bytes_at(riga)
    message = f.send("EE.POLICE", "LT.POLICE", "--attach", big)
    wait_for(lambda: bytes_at(riga) > before + size // 16, 120, "some of it is at riga")
    riga.kill()
    some = bytes_at(riga) - before
    note(f"riga was killed with {some / MIB:.1f} of {size / MIB:.0f} MiB")
    riga.start()
    f.wait_states("EE.POLICE", message, ("delivered",), 300)
    folder = f.scratch(f"saved-{attempt}")
    os.mkdir(folder)
    f.cli("LT.POLICE", "save", message, "--part", "1", "--to", folder, code=0, timeout=300)
    equal(sha256_file(os.path.join(folder, "surveillance.bin")), digest, "SHA-256")
    return some < size


def checks(tap):
    size = 1024 if is_long() else 64
    with Federation() as f:
        f.start()
        big = f.scratch("surveillance.bin")
        write_random(big, size * MIB, tap.random)
        digest = sha256_file(big)
        with MemoryWatch(f.daemons()) as watch:
            with tap.check(f"{size} MiB arrive at two agencies behind one and two relays", fatal=True):
                message = f.send("EE.POLICE", ["LT.POLICE", "LV.CUSTOMS"], "--attach", big, "--wait",
                                 "delivered", "--timeout", "900s", timeout=1000)
            with tap.check("what is saved is identical"):
                for agency in ("LT.POLICE", "LV.CUSTOMS"):
                    folder = f.scratch(f"saved-{agency}")
                    os.mkdir(folder)
                    f.cli(agency, "save", message, "--part", "1", "--to", folder, code=0, timeout=300)
                    path = os.path.join(folder, "surveillance.bin")
                    equal(sha256_file(path), digest, f"SHA-256 at {agency}")
                    os.unlink(path)
            with tap.check("a broker that is killed during the transfer goes on where it was"):
                for attempt in range(5):
                    if kill_within(f, big, attempt):
                        break
                else:
                    raise AssertionError("riga was never killed with a part of the file")
        with tap.check("memory stayed bounded: 256 MiB a broker, 128 MiB an agent"):
            check_memory(watch, f)
        with tap.check("every daemon stops cleanly"):
            assert f.stop()


if __name__ == "__main__":
    main(checks)
