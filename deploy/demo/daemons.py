"""Starts and stops the daemons of a demo federation, and waits for them."""
import os
import signal
import subprocess
import time

from terminal import DemoError

READY_SECONDS = 60
STOP_SECONDS = 20


class Daemon:
    """One process; its log goes to a file, its first line on stdout says that it is ready."""

    def __init__(self, name, command, log):
        self.name = name
        self.command = command
        self.log = log
        self.process = None

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=log,
                                            start_new_session=True)

    def wait_ready(self):
        deadline = time.monotonic() + READY_SECONDS
        os.set_blocking(self.process.stdout.fileno(), False)
        seen = b""
        while b"ready\n" not in seen:
            if self.process.poll() is not None:
                raise DemoError(f"{self.name} ended with exit code {self.process.returncode}:\n"
                                + self.last_log())
            if time.monotonic() > deadline:
                raise DemoError(f"{self.name} is not ready after {READY_SECONDS} s:\n"
                                + self.last_log())
            seen += self.process.stdout.read() or b""
            time.sleep(0.01)

    def last_log(self, lines=8):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return "".join(f.readlines()[-lines:])

    def kill(self):
        """As a power cut of this process: no chance to tidy up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        self.process = None

    def stop(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        self.process = None


class Daemons:
    """All of a federation's, started side by side, stopped in the opposite order."""

    def __init__(self, federation):
        self.all = [Daemon("timestamp service", federation.timestamp_command(),
                           os.path.join(federation.dir, "timestamp.log"))]
        self.brokers = {}
        self.agents = {}
        for name in federation.BROKERS:
            home = federation.broker_dir(name)
            self.brokers[name] = Daemon(
                name, [federation.program("sealpost-broker"), "--config",
                       os.path.join(home, "broker.yaml")], os.path.join(home, "broker.log"))
        for name in federation.AGENCIES:
            home = federation.agent_dir(name)
            self.agents[name] = Daemon(
                name, [federation.program("sealpost-agent"), "--config",
                       os.path.join(home, "agent.yaml")], os.path.join(home, "agent.log"))
        self.all += [*self.brokers.values(), *self.agents.values()]

    def start(self):
        self.all[0].start()
        self.all[0].wait_ready()
        for daemon in self.all[1:]:
            daemon.start()
        for daemon in self.all[1:]:
            daemon.wait_ready()

    def stop(self):
        for daemon in reversed(self.all):
            daemon.stop()
