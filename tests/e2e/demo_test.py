#!/usr/bin/env python3
"""The demo does the main job, leaves its folder usable, and runs beside another one."""
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))

from federation import bin_dir, program, run  # noqa: E402
from tap import ROOT, equal, main  # noqa: E402

DEMO = os.path.join(ROOT, "deploy", "demo", "demo")
READY_SECONDS = 120


class Empty:
    """`demo --empty` in a child; stays until it is told to stop."""

    def __init__(self, folder):
        self.process = subprocess.Popen([DEMO, "--bin", bin_dir(), "--dir", folder, "--empty"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.text = b""

    def wait_ready(self):
        deadline = time.monotonic() + READY_SECONDS
        while b"federation ready\n" not in self.text:
            left = deadline - time.monotonic()
            assert left > 0, f"not ready: {self.text.decode()}"
            if select.select([self.process.stdout], [], [], left)[0]:
                piece = os.read(self.process.stdout.fileno(), 65536)
                assert piece, f"the demo has ended: {self.text.decode()}"
                self.text += piece

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.text += self.process.communicate(timeout=60)[0]
        return self.process.returncode


def processes_of(folder):
    """Command lines of processes that were started with this folder."""
    found = []
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    line = f.read().decode(errors="replace")
            except OSError:
                continue
            if folder + "/" in line and int(pid) != os.getpid():
                found.append(line.replace("\0", " "))
    return found


def checks(tap):
    base = tempfile.mkdtemp(prefix="sealpost-", dir="/tmp")
    one, two = os.path.join(base, "one"), os.path.join(base, "two")
    try:
        with tap.check("demo --once ends with 0 and leaves nothing running", fatal=True):
            run(DEMO, "--bin", bin_dir(), "--dir", one, "--once", code=0, timeout=300)
            equal(processes_of(one), [], "processes")
            for place in ("federation/root.dsse", "root-keys", "brokers/riga/broker.yaml",
                          "agents/EE.POLICE/agent.yaml", "as"):
                assert os.path.exists(os.path.join(one, place)), place
        with tap.check("its logs hold under the root that it made"):
            root = os.path.join(one, "federation", "root.dsse")
            for kind in ("brokers", "agents"):
                for name in os.listdir(os.path.join(one, kind)):
                    run(program("sealpost-audit"), "--root", root, "verify",
                        os.path.join(one, kind, name, "data"), code=0)
        with tap.check("started again it keeps its messages; another one runs beside it"):
            demos = [Empty(one), Empty(two)]
            try:
                for d in demos:
                    d.wait_ready()
                before = run(os.path.join(one, "as"), "EE.POLICE", "--json", "list", code=0).lines()
                assert before, "the messages of the first run are gone"
                equal(run(os.path.join(two, "as"), "EE.POLICE", "--json", "list", code=0).out, "", "list")
                for folder in (one, two):
                    run(os.path.join(folder, "as"), "EE.POLICE", "send", "--to", "LT.CUSTOMS", "--kind",
                        "information", "--subject", "S", "--text", "T", "--wait", "delivered", code=0)
            finally:
                codes = [d.stop() for d in demos]
            equal(codes, [0, 0], "exit codes after SIGTERM")
            equal(processes_of(one) + processes_of(two), [], "processes")
        with tap.check("a folder that is no demo is left alone, a path too long for a socket said: 3"):
            other = os.path.join(base, "other")
            os.mkdir(other)
            with open(os.path.join(other, "precious"), "w", encoding="utf-8") as out:
                out.write("mine")
            equal(run(DEMO, "--bin", bin_dir(), "--dir", other, "--make-only").code, 3, "exit code")
            equal(os.listdir(other), ["precious"], "files")
            result = run(DEMO, "--bin", bin_dir(), "--dir", os.path.join(base, "x" * 100), "--make-only")
            equal(result.code, 3, "exit code")
            assert "socket" in result.err, result.err
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main(checks)
