"""A federation of real daemons for tests: three brokers in a line, two agencies at each.

The files are made by `deploy/demo/demo --make-only`; the daemons are started, stopped and killed
here, by the process ids that were started here and no others. Everything lies in a folder of its
own under the temporary folder, on free ports of the loopback interface.
"""
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from tap import ROOT, note

BROKERS = ("tallinn", "riga", "vilnius")
AGENCIES = ("EE.POLICE", "EE.CUSTOMS", "LV.POLICE", "LV.CUSTOMS", "LT.POLICE", "LT.CUSTOMS")
HOMES = {"EE": "tallinn", "LV": "riga", "LT": "vilnius"}
READY_SECONDS = 60
STOP_SECONDS = 20
UUID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")


def bin_dir():
    return os.environ.get("SEALPOST_BIN") or os.path.join(ROOT, "build", "bin")


def program(name):
    return os.path.join(bin_dir(), name)


def wait_for(predicate, seconds, what):
    """Polls until `predicate()` gives something true, and gives it; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    pause = 0.005
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


class Result:
    """What a command printed and how it ended."""

    def __init__(self, command, code, out, err):
        self.command = command
        self.code = code
        self.out = out
        self.err = err

    def json(self):
        return json.loads(self.out)

    def lines(self):
        return [json.loads(line) for line in self.out.splitlines()]

    def expect(self, code):
        if self.code != code:
            raise AssertionError(f"exit code {self.code}, wanted {code}: {self.command}\n"
                                 f"stdout: {self.out[-1500:]}\nstderr: {self.err[-1500:]}")
        return self


def run(*command, code=None, stdin=None, timeout=60, env=None, become=None):
    """Runs a program to its end. `become`: a uid to run it as."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SEALPOST_")}
    environment.update(env or {})
    try:
        done = subprocess.run(command, input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                              env=environment, check=False, user=become,
                              extra_groups=[] if become is not None else None)
    except subprocess.TimeoutExpired as late:
        raise AssertionError(f"took longer than {timeout} s: {' '.join(command)}") from late
    result = Result(" ".join(command), done.returncode, done.stdout.decode("utf-8", "replace"),
                    done.stderr.decode("utf-8", "replace"))
    return result if code is None else result.expect(code)


class Daemon:
    """One process with its configuration, log and data folder."""

    def __init__(self, name, executable, home, config):
        self.name = name
        self.home = home
        self.executable = executable
        self.config = os.path.join(home, config)
        self.data = os.path.join(home, "data")
        self.log = os.path.join(home, "daemon.log")
        self.process = None
        self.starts = 0

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def spawn(self):
        assert self.process is None, f"{self.name} runs already"
        env = {k: v for k, v in os.environ.items() if k not in ("NOTIFY_SOCKET", "JOURNAL_STREAM")}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([program(self.executable), "--config", self.config],
                                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                            stderr=log, env=env, start_new_session=True)
        self.starts += 1
        os.set_blocking(self.process.stdout.fileno(), False)

    def wait_ready(self):
        seen = b""

        def ready():
            nonlocal seen
            seen += self.process.stdout.read() or b""
            if b"ready\n" in seen:
                return True
            if self.process.poll() is not None:
                raise AssertionError(f"{self.name} ended with exit code {self.process.returncode}:\n"
                                     + self.last_log())
            return False
        wait_for(ready, READY_SECONDS, f"{self.name} says that it is ready")

    def start(self):
        self.spawn()
        self.wait_ready()

    def _reap(self):
        self.process.stdout.close()
        self.process = None

    def kill(self):
        """As a power cut of this process: no chance to tidy up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(STOP_SECONDS)
        self._reap()

    def stop(self):
        """Asks it to end, and says whether it did so in time with exit code 0."""
        if self.process is None:
            return True
        clean = True
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            clean = False
            self.process.kill()
            self.process.wait()
        clean = clean and self.process.returncode == 0
        if not clean:
            note(f"{self.name} did not stop cleanly (exit code {self.process.returncode}):")
            note(self.last_log())
        self._reap()
        return clean

    def last_log(self, lines=12):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return "".join(f.readlines()[-lines:])

    def anon_bytes(self):
        """Memory of its own: RssAnon and RssShmem; pages of the store are the system's cache."""
        total = 0
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            for line in f:
                if line.startswith(("RssAnon:", "RssShmem:")):
                    total += int(line.split()[1]) * 1024
        return total


class MemoryWatch:
    """Notes the greatest memory of some daemons while a block runs."""

    def __init__(self, daemons):
        self.daemons = daemons
        self.peak = {d.name: 0 for d in daemons}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _look(self):
        for d in self.daemons:
            try:
                self.peak[d.name] = max(self.peak[d.name], d.anon_bytes())
            except (OSError, AttributeError):
                pass  # it is being started again

    def _run(self):
        while not self._stop.wait(0.05):
            self._look()

    def __enter__(self):
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self._look()


class Federation:
    """Made on entering, stopped and deleted on leaving. SEALPOST_KEEP=1 keeps the folder."""

    def __init__(self, settings=None):
        self.settings = settings or {}
        self.base = tempfile.mkdtemp(prefix="sealpost-", dir="/tmp")
        self.dir = os.path.join(self.base, "f")
        self.brokers = {}
        self.agents = {}

    def __enter__(self):
        try:
            self._make()
        except BaseException:
            shutil.rmtree(self.base, ignore_errors=True)
            raise
        return self

    def _make(self):
        words = [f"--set={key}={value}" for key, value in self.settings.items()]
        run(os.path.join(ROOT, "deploy", "demo", "demo"), "--bin", bin_dir(), "--dir", self.dir,
            "--make-only", *words, code=0, timeout=300)
        for name in BROKERS:
            self.brokers[name] = Daemon(name, "sealpost-broker",
                                        os.path.join(self.dir, "brokers", name), "broker.yaml")
        for name in AGENCIES:
            self.agents[name] = Daemon(name, "sealpost-agent",
                                       os.path.join(self.dir, "agents", name), "agent.yaml")

    def __exit__(self, *_):
        self.clean = self.stop()
        if os.environ.get("SEALPOST_KEEP") == "1":
            note(f"kept: {self.dir}")
        else:
            shutil.rmtree(self.base, ignore_errors=True)

    # Daemons.

    def daemons(self):
        return [*self.brokers.values(), *self.agents.values()]

    def daemon(self, name):
        return self.brokers.get(name) or self.agents[name]

    def home_of(self, agency):
        return self.brokers[HOMES[agency[:2]]]

    def start(self, *names):
        """All of them, or those named."""
        chosen = [self.daemon(n) for n in names] if names else self.daemons()
        for d in chosen:
            d.spawn()
        for d in chosen:
            d.wait_ready()

    def stop(self):
        clean = True
        for d in reversed(self.daemons()):
            clean = d.stop() and clean
        return clean

    def root(self):
        return os.path.join(self.dir, "federation", "root.dsse")

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def scratch(self, name):
        return os.path.join(self.base, name)

    def endpoint(self, broker):
        with open(self.brokers[broker].config, encoding="utf-8") as f:
            return next(line.split()[1] for line in f if line.startswith("listen:"))

    def socket(self, agency):
        return os.path.join(self.agents[agency].home, "agent.sock")

    # The officers' command line.

    def cli(self, agency, *words, **options):
        return run(program("sealpost"), "--agent", self.socket(agency), *words, **options)

    def send(self, sender, to, *words, subject="Inquiry", kind="request", text="Please answer.",
             code=0, **options):
        """Gives the id."""
        body = [] if text is None else ["--text", text]
        result = self.cli(sender, "send", "--to", ",".join([to] if isinstance(to, str) else to),
                          "--kind", kind, "--subject", subject, *body, *words, code=code, **options)
        message = result.out.strip()
        assert UUID.match(message), f"send printed {message!r}"
        return message

    def show(self, agency, message):
        return self.cli(agency, "--json", "show", message, code=0).json()

    def list(self, agency, *words):
        return self.cli(agency, "--json", "list", *words, code=0).lines()

    def find(self, agency, message, *words):
        """The row of that message in a list, without opening it; None when it is not there."""
        rows = [m for m in self.list(agency, "--limit", "1000", *words) if m["id"] == message]
        assert len(rows) <= 1, f"{message} stands {len(rows)} times in the list of {agency}"
        return rows[0] if rows else None

    def receipts(self, agency, message):
        return self.cli(agency, "--json", "receipts", message, code=0).lines()

    def states(self, sender, message):
        """State per recipient as the sender sees it."""
        row = self.find(sender, message, "--box", "out")
        return {} if row is None else {r["agency"]: r["state"] for r in row["recipients"]}

    def wait_states(self, sender, message, wanted, seconds=30):
        """Waits until every recipient is in one of `wanted`."""
        def there():
            states = self.states(sender, message)
            return states if states and all(s in wanted for s in states.values()) else None
        return wait_for(there, seconds, f"{message} is {' or '.join(wanted)} at {sender}")

    def audit(self, *words, **options):
        return run(program("sealpost-audit"), "--root", self.root(), *words, **options)


def sha256_file(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def unused_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
