#!/usr/bin/env python3
"""No plain text at a broker: not in its files, its log, its memory, nor on the wire.

Canary words go through in subject, text, case number, ground, file name and file content. The same
search finds them where they must be found: in control files, in a core of a program that holds
them, in a packet, and at the recipient.
"""
import base64
import os
import shutil
import socket
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))

from federation import BROKERS, Federation, wait_for  # noqa: E402
from tap import Skip, is_long, main, note  # noqa: E402

STEM = "KANAARILINNUKE"
STEM_UNICODE = "kanārijputniņš"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
GROUNDS = ("subject", "text", "case", "ground", "handling", "file_name", "file_text", "entity", "unicode")


def make_canaries(random):
    words = {g: STEM + "".join(random.choices(LETTERS, k=16)) for g in GROUNDS}
    words["unicode"] = STEM_UNICODE + "".join(random.choices(LETTERS, k=8))
    return words


def patterns(words):
    """Each word as UTF-8, UTF-16 in both byte orders, hex, and base64 at its three offsets."""
    found = []
    for name, word in words.items():
        plain = word.encode()
        found += [(name, plain), (name, word.encode("utf-16-le")), (name, word.encode("utf-16-be")),
                  (name, plain.hex().encode()), (name, plain.hex().upper().encode())]
        for shift in range(3):
            text = base64.b64encode(b"\0" * shift + plain)
            found.append((name, text[4 if shift else 0:-4]))
    return found


STEMS = [p for _, p in patterns({"": STEM, "unicode": STEM_UNICODE})]


def search(path, wanted):
    """Names of the words that the file holds, in any form. All words share two stems, so that most
    of a large file is searched for those alone; "stem" when one stands there without a word."""
    longest = max(len(p) for _, p in wanted)
    hits = set()
    with open(path, "rb") as f:
        tail = b""
        while block := f.read(8 << 20):
            data = tail + block
            if any(stem in data for stem in STEMS):
                found = {name for name, pattern in wanted if pattern in data}
                hits |= found or {"stem"}
            tail = data[-longest:]
    return hits


def files_of(daemon):
    for place, _, names in os.walk(daemon.home):
        for name in names:
            path = os.path.join(place, name)
            if os.path.isfile(path):
                yield path


def core_of(pid, prefix):
    """A core of the live process, written by gdb's gcore: what is mapped from files is not in it,
    but those files are searched themselves."""
    if shutil.which("gcore") is None:
        raise Skip("gcore is not installed")
    done = subprocess.run(["gcore", "-o", prefix, str(pid)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=120, check=False)
    path = f"{prefix}.{pid}"
    assert os.path.exists(path), f"gcore wrote nothing: {done.stdout[-400:]} {done.stderr[-800:]}"
    return path


class Wire(threading.Thread):
    """Everything that passes over the loopback interface."""

    def __init__(self, path):
        super().__init__(daemon=True)
        try:
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        except PermissionError as e:
            raise Skip("listening on the loopback interface needs root") from e
        self.socket.bind(("lo", 0))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
        self.socket.settimeout(0.2)
        self.path = path
        self.bytes = 0
        self.ended = threading.Event()

    def run(self):
        with open(self.path, "wb") as out:
            while True:
                try:
                    packet = self.socket.recv(1 << 17)
                except socket.timeout:
                    if self.ended.is_set():
                        return
                    continue
                out.write(packet)
                self.bytes += len(packet)

    def end(self):
        self.ended.set()
        self.join()
        self.socket.close()


def check_controls(tap, f, wanted, words):
    with tap.check("control: the search finds each word in each form in a file"):
        for number, (name, pattern) in enumerate(wanted):
            path = f.scratch(f"control-{number}")
            with open(path, "wb") as out:
                out.write(os.urandom(9_000_000 if number == 0 else 1000) + pattern + os.urandom(1000))
            assert search(path, wanted) >= {name}, f"{name} as {pattern!r} was not found"
            os.unlink(path)
    with tap.check("control: a core of a program that holds the words shows them"):
        code = ("import sys\nheld = sys.stdin.read().split()\nprint('ready', flush=True)\n"
                "sys.stdin.close()\nimport signal\nsignal.pause()")
        holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        try:
            holder.stdin.write(" ".join(words.values()).encode())
            holder.stdin.close()
            holder.stdout.readline()
            core = core_of(holder.pid, f.scratch("core-control"))
            found = search(core, wanted)
            assert found == set(words), f"found only {sorted(found)}"
            os.unlink(core)
        finally:
            holder.kill()
            holder.wait()
            holder.stdout.close()


def send_canaries(f, words):
    path = f.scratch(words["file_name"] + ".txt")
    with open(path, "w", encoding="utf-8") as out:
        out.write((words["file_text"] + " ") * 3000)
    entity = f.scratch("entity.json")
    with open(entity, "w", encoding="utf-8") as out:
        out.write('{"person":{"family_name":"%s"}}' % words["entity"])
    options = ["--attach", path, "--entity", entity, "--case", words["case"], "--urgency", "urgent",
               "--ground", words["ground"], "--handling", "H3", "--handling-text", words["handling"]]
    text = f"{words['text']} {words['unicode']} " * 40
    delivered = [f.send("EE.POLICE", ["LT.POLICE", "LV.CUSTOMS"], *options, "--wait", "delivered",
                        subject=words["subject"], text=text) for _ in range(5)]
    f.show("LT.POLICE", delivered[0])
    # These stay in the queue of vilnius, whose agency is away.
    waiting = [f.send("EE.CUSTOMS", "LT.CUSTOMS", *options, subject=words["subject"], text=text)
               for _ in range(5)]
    for message in waiting:
        wait_for(lambda m=message: len([r for r in f.receipts("EE.CUSTOMS", m)
                                        if r["event"] == "accepted" and r["by"] == "vilnius"]) == 1,
                 20, "vilnius has it in its queue")
    return delivered[0]


def checks(tap):
    words = make_canaries(tap.random)
    wanted = patterns(words)
    with Federation({"dumpable": "true", "log_level": "debug"}) as f:
        check_controls(tap, f, wanted, words)
        f.start(*[d.name for d in f.daemons() if d.name != "LT.CUSTOMS"])
        wire = None
        with tap.check("control: a packet with the words is seen on the wire"):
            wire = Wire(f.scratch("wire"))
            wire.start()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.sendto(" ".join(words.values()).encode(), ("127.0.0.1", 9))
            wait_for(lambda: wire.bytes > 0, 10, "the packet is seen")
            wire.end()
            assert search(wire.path, wanted) == set(words)
            wire = Wire(f.scratch("wire"))
            wire.start()
        message = send_canaries(f, words)
        with tap.check("control: the recipient reads the words"):
            path = f.scratch("shown")
            with open(path, "w", encoding="utf-8") as out:
                out.write(f.cli("LT.POLICE", "--json", "show", message, code=0).out)
            assert search(path, wanted) == set(words) - {"file_text"}, sorted(search(path, wanted))
            folder = f.scratch("saved")
            os.mkdir(folder)
            f.cli("LT.POLICE", "save", message, "--to", folder, code=0)
            assert search(os.path.join(folder, words["file_name"] + ".txt"), wanted) == {"file_text"}
        with tap.check("nothing of it on the wire"):
            if wire is None:
                raise Skip("listening on the loopback interface needs root")
            wire.end()
            note(f"{wire.bytes / 1e6:.1f} MB were seen")
            assert wire.bytes > 500_000
            found = search(wire.path, wanted)
            assert not found, f"found {sorted(found)}"
        for name in BROKERS if is_long() else ("riga", "vilnius"):
            with tap.check(f"nothing of it in the memory of {name}"):
                core = core_of(f.brokers[name].pid, f.scratch(f"core-{name}"))
                found = search(core, wanted)
                assert not found, f"found {sorted(found)}"
                # That it is the right memory: it knows whom it serves.
                with open(core, "rb") as file:
                    assert b"LT.POLICE" in file.read(), "a core without the agency's name"
                note(f"{os.path.getsize(core) / 1e6:.0f} MB")
                os.unlink(core)
        with tap.check("nothing of it in any file of the brokers, their logs included"):
            count = 0
            for name in BROKERS:
                for path in files_of(f.brokers[name]):
                    found = search(path, wanted)
                    assert not found, f"{path} holds {sorted(found)}"
                    count += os.path.getsize(path)
            note(f"{count / 1e6:.1f} MB were searched")
            assert count > 1_000_000
        with tap.check("nothing of it in any file of an agent either: it is sealed at rest"):
            for daemon in f.agents.values():
                for path in files_of(daemon):
                    found = search(path, wanted)
                    assert not found, f"{path} holds {sorted(found)}"
        with tap.check("every daemon stops cleanly"):
            assert f.stop()


if __name__ == "__main__":
    main(checks)
