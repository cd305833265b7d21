"""Results of a test script as TAP lines, which tests/run-tests counts."""
import contextlib
import os
import random
import sys
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Skip(Exception):
    """Raised inside a check that cannot run here; says why."""


class Tap:
    """One script's checks. Each is a `with tap.check(name):` block that must not raise."""

    def __init__(self, seed=None):
        if seed is None:
            seed = int(os.environ.get("SEALPOST_SEED") or random.SystemRandom().randrange(1 << 32))
        self.seed = seed
        self.random = random.Random(seed)
        self.failed = 0
        self.count = 0
        self.started = time.monotonic()
        note(f"seed {seed} (SEALPOST_SEED={seed} repeats it)")

    @contextlib.contextmanager
    def check(self, name, fatal=False):
        """`fatal`: what follows has no ground when this one fails."""
        self.count += 1
        begun = time.monotonic()
        try:
            yield
        except Skip as skip:
            print(f"ok - {name} # SKIP {skip}", flush=True)
            return
        except Exception:  # every failure of the block is a result, whatever it is
            self.failed += 1
            print(f"not ok - {name}", flush=True)
            note(trace())
            if fatal:
                raise Fatal from None
            return
        print(f"ok - {name}", flush=True)
        if time.monotonic() - begun > 5:
            note(f"{time.monotonic() - begun:.1f} s")

    def done(self):
        note(f"{self.count} checks, {self.failed} failed, {time.monotonic() - self.started:.0f} s")
        return 1 if self.failed else 0


class Fatal(Exception):
    """A check failed without which the rest has no ground."""


def trace():
    """Where it failed, in one line, and why."""
    kind, value, place = sys.exc_info()
    frames = [f"{os.path.basename(f.filename)}:{f.lineno}" for f in traceback.extract_tb(place)[1:]]
    return " > ".join(frames) + f"\n{kind.__name__}: {value}"


def note(text):
    for line in str(text).splitlines():
        print(f"# {line}", flush=True)


def is_long():
    return os.environ.get("SEALPOST_LONG") == "1"


def equal(got, wanted, what="value"):
    """As assert, with both sides in the message, shortened."""
    if got != wanted:
        raise AssertionError(f"{what}: got {short(got)}, wanted {short(wanted)}")


def short(value):
    text = repr(value)
    return text if len(text) <= 600 else text[:600] + "…"


def main(run):
    """Runs `run(tap)` and ends the script with its exit code."""
    tap = Tap()
    try:
        run(tap)
    except Fatal:
        pass
    except Exception:
        tap.failed += 1
        print("not ok - the script ran to its end", flush=True)
        note(trace())
    sys.exit(tap.done())
