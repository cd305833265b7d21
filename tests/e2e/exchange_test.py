#!/usr/bin/env python3
"""The main job with real processes: three brokers, six agencies, every command and exit code."""
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import uuid

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))

from federation import (Federation, UUID, program, run, sha256_file, wait_for)  # noqa: E402
from tap import Skip, equal, main  # noqa: E402

MESSAGE_KEYS = {"id", "direction", "from", "to", "kind", "handling", "handling_text", "level", "urgency",
                "ground", "evaluation", "case", "reply_to", "source", "subject", "text", "entities",
                "attachments", "officer", "created", "expires", "received", "state", "task_state",
                "recipients"}
ATTACHMENT_KEYS = {"part", "name", "media_type", "size", "sha256"}
RECIPIENT_KEYS = {"agency", "state", "at", "code", "reason"}
RECEIPT_KEYS = {"event", "by", "recipients", "at", "verified"}
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
STATES = ["queued", "accepted", "relayed", "delivered", "opened"]
NOBODY = 65534


def uuid7(random):
    """A fresh UUIDv7 of now."""
    import time
    value = int(time.time() * 1000) << 80 | 7 << 76 | random.getrandbits(12) << 64 \
        | 2 << 62 | random.getrandbits(62)
    return str(uuid.UUID(int=value))


def check_shape(message):
    missing = MESSAGE_KEYS - message.keys()
    assert not missing, f"keys missing: {sorted(missing)}"
    assert UUID.match(message["id"]), message["id"]
    for key in ("to", "handling", "entities", "attachments", "recipients"):
        assert isinstance(message[key], list), f"{key} is no list"
    for key in ("created", "expires"):
        assert TIME.match(message[key]), f"{key}: {message[key]!r}"
    for a in message["attachments"]:
        assert ATTACHMENT_KEYS <= a.keys(), f"attachment: {a}"
        assert isinstance(a["size"], int) and isinstance(a["part"], int), f"attachment: {a}"
    for r in message["recipients"]:
        assert RECIPIENT_KEYS <= r.keys(), f"recipient: {r}"


def error_of(result):
    """The error object that --json prints."""
    text = result.err.strip() or result.out.strip()
    error = json.loads(text.splitlines()[-1])["error"]
    assert {"code", "message", "next"} <= error.keys(), f"error: {error}"
    return error


def main_job(tap, f):
    """One request with an attachment to two agencies over one and two relays, an answer back."""
    attachment = f.scratch("plate register.bin")
    with open(attachment, "wb") as out:
        out.write(tap.random.randbytes(300_000))
    text = "Kas see sõiduk on tuntud? Pilsētā redzēts ar numuru 123-ABC — žurnāls.\n"
    sent = {}

    with tap.check("send --wait delivered to two agencies ends with 0", fatal=True):
        sent["id"] = f.send("EE.POLICE", ["LV.CUSTOMS", "LT.POLICE"], "--attach", attachment,
                            "--case", "EE-2031-7", "--evaluation", "B2", "--wait", "delivered",
                            "--timeout", "30s", subject="Sõiduk 123-ABC", text=text)
    message = sent["id"]
    with tap.check("the recipients' lists show it unopened, with every key"):
        for agency in ("LV.CUSTOMS", "LT.POLICE"):
            row = wait_for(lambda a=agency: f.find(a, message), 10, "the message is listed")
            check_shape(row)
            equal(row["direction"], "in", "direction")
            equal(row["from"], "EE.POLICE", "from")
            equal(sorted(row["to"]), ["LT.POLICE", "LV.CUSTOMS"], "to")
            equal(row["subject"], "Sõiduk 123-ABC", "subject")
            equal(row["case"], "EE-2031-7", "case")
            equal(row["state"], "delivered", "state")
            assert TIME.match(row["received"]), row["received"]
        equal(f.find("LV.POLICE", message), None, "another agency's row")
        equal(f.find("LT.CUSTOMS", message), None, "another agency's row")
    with tap.check("the sender sees delivered for both, with times"):
        row = f.find("EE.POLICE", message)
        check_shape(row)
        equal(row["direction"], "out", "direction")
        equal(row["state"], "delivered", "state")
        equal({r["agency"]: r["state"] for r in row["recipients"]},
              {"LV.CUSTOMS": "delivered", "LT.POLICE": "delivered"}, "states")
        assert all(TIME.match(r["at"]) for r in row["recipients"]), row["recipients"]
    with tap.check("show gives text, attachments and what was said about it"):
        shown = f.show("LV.CUSTOMS", message)
        check_shape(shown)
        equal(shown["text"], text, "text")
        equal(shown["kind"], "request", "kind")
        equal(shown["handling"], ["H0"], "handling")
        equal(shown["level"], "BPL", "level")
        equal(shown["urgency"], "normal", "urgency")
        equal(shown["evaluation"], "B2", "evaluation")
        equal(shown["officer"].count("ee.police-duty") + shown["officer"].count("EE.POLICE") > 0, True,
              f"officer {shown['officer']!r}")
        a = shown["attachments"][-1]
        equal((a["name"], a["size"], a["sha256"]),
              ("plate register.bin", 300_000, sha256_file(attachment)), "attachment")
    with tap.check("opening is told to the sender"):
        wait_for(lambda: f.states("EE.POLICE", message).get("LV.CUSTOMS") == "opened", 20,
                 "LV.CUSTOMS is opened at the sender")
        equal(f.find("EE.POLICE", message)["state"], "delivered", "the least advanced state")
    with tap.check("save gives the same bytes, and overwrites nothing"):
        folder = f.scratch("saved")
        os.mkdir(folder)
        f.cli("LT.POLICE", "save", message, "--to", folder, code=0)
        equal(os.listdir(folder), ["plate register.bin"], "saved files")
        path = os.path.join(folder, "plate register.bin")
        equal(sha256_file(path), sha256_file(attachment), "SHA-256")
        equal(stat.S_IMODE(os.stat(path).st_mode), 0o600, "mode")
        with open(path, "wb"):
            pass
        f.cli("LT.POLICE", "save", message, "--part", "1", "--to", folder, code=0)
        equal(os.path.getsize(path), 0, "size of the file that was there")
        equal(sorted(os.listdir(folder)), ["plate register-2.bin", "plate register.bin"], "saved files")
        one = f.scratch("text")
        os.mkdir(one)
        f.cli("LT.POLICE", "save", message, "--part", "0", "--to", one, code=0)
        with open(os.path.join(one, os.listdir(one)[0]), encoding="utf-8") as body:
            equal(body.read(), text, "saved text")
    with tap.check("a reply takes sender, case and subject, and comes back"):
        answer = f.cli("LT.POLICE", "reply", message, "--text", "Nežinoma.", "--completeness", "none",
                       "--wait", "delivered", code=0).out.strip()
        row = f.show("EE.POLICE", answer)
        check_shape(row)
        equal((row["from"], row["to"], row["kind"]), ("LT.POLICE", ["EE.POLICE"], "answer"), "answer")
        equal(row["reply_to"], message, "reply_to")
        equal(row["case"], "EE-2031-7", "case")
        equal(row["subject"], "Re: Sõiduk 123-ABC", "subject")
        equal(row["text"], "Nežinoma.", "text")
    with tap.check("every receipt holds, from every hop to the opening"):
        def complete():
            got = f.receipts("EE.POLICE", message)
            seen = {(r["event"], r["by"]) for r in got}
            wanted = {("accepted", "tallinn"), ("accepted", "riga"), ("accepted", "vilnius"),
                      ("delivered", "LV.CUSTOMS"), ("delivered", "LT.POLICE"), ("opened", "LV.CUSTOMS"),
                      ("opened", "LT.POLICE")}
            return got if wanted <= seen else None
        for r in wait_for(complete, 20, "all receipts are there"):
            assert RECEIPT_KEYS <= r.keys(), f"receipt: {r}"
            equal(r["verified"], True, f"{r['event']} by {r['by']}")
    return message, answer, attachment


def states_in_order(tap, f):
    with tap.check("states go queued, accepted or relayed, delivered, opened"):
        f.brokers["vilnius"].stop()
        seen = []

        def note_state():
            state = f.states("EE.CUSTOMS", message).get("LT.CUSTOMS")
            if state not in seen:
                seen.append(state)
            return state
        message = f.send("EE.CUSTOMS", "LT.CUSTOMS", "--level", "PUBLIC")
        wait_for(lambda: note_state() in ("accepted", "relayed"), 20, "custody is with a broker")
        wait_for(lambda: note_state() == "relayed", 20, "riga has taken it")
        f.brokers["vilnius"].start()
        wait_for(lambda: note_state() == "delivered", 40, "it is delivered")
        f.show("LT.CUSTOMS", message)
        wait_for(lambda: note_state() == "opened", 20, "it is opened")
        order = [STATES.index(s) for s in seen]
        equal(order, sorted(order), f"order of {seen}")
    with tap.check("without its broker an agent commits, and --wait ends with 6 and the id"):
        f.brokers["tallinn"].stop()
        result = f.cli("EE.CUSTOMS", "send", "--to", "LV.POLICE", "--kind", "request", "--subject", "S",
                       "--text", "T", "--wait", "accepted", "--timeout", "1s", code=6)
        message = result.out.strip()
        assert UUID.match(message), f"printed {message!r}"
        equal(f.states("EE.CUSTOMS", message), {"LV.POLICE": "queued"}, "states")
        f.brokers["tallinn"].start()
        f.wait_states("EE.CUSTOMS", message, ("delivered",), 40)


def ends(tap, f):
    with tap.check("what expires undelivered ends so at the sender, and --wait says it with 1"):
        f.agents["LT.CUSTOMS"].stop()
        words = ["send", "--to", "LT.CUSTOMS", "--kind", "alert", "--subject", "S", "--text", "T",
                 "--expires", "3s", "--wait", "delivered", "--timeout", "30s"]
        result = f.cli("EE.POLICE", *words, code=1)
        message = result.out.strip()
        assert "LT.CUSTOMS" in result.err and "expired" in result.err, result.err
        row = f.find("EE.POLICE", message)
        equal([(r["agency"], r["state"]) for r in row["recipients"]], [("LT.CUSTOMS", "expired")],
              "recipients")
        expired = [r for r in f.receipts("EE.POLICE", message) if r["event"] == "expired"]
        assert expired and all(r["verified"] for r in expired), "no receipt says that it expired"
        f.agents["LT.CUSTOMS"].start()
        f.send("EE.POLICE", "LT.CUSTOMS", "--wait", "delivered")
        equal(f.find("LT.CUSTOMS", message), None, "the expired one at the recipient")
    with tap.check("--wait accepted ends with 0 when the home broker has it"):
        message = f.send("EE.POLICE", "LV.POLICE", "--wait", "accepted")
        assert f.states("EE.POLICE", message)["LV.POLICE"] != "queued"
    with tap.check("the demo's `as` speaks to the agency that it is told"):
        for agency in ("EE.POLICE", "LV.CUSTOMS"):
            equal(run(f.path("as"), agency, "--json", "status", code=0).json()["agency"], agency, "agency")
        equal(run(f.path("as"), "EE.NAVY", "status").code, 7, "exit code for an agency that is not there")


def repeated_ids(tap, f):
    message = uuid7(tap.random)
    words = ["send", "--to", "EE.CUSTOMS", "--kind", "information", "--subject", "Once", "--id", message]
    with tap.check("send --id repeated with the same draft: 0, the same id, one message"):
        for _ in range(3):
            equal(f.cli("EE.POLICE", *words, "--text", "The same.", code=0).out.strip(), message, "id")
        f.wait_states("EE.POLICE", message, ("delivered",))
        rows = [m for m in f.list("EE.CUSTOMS", "--box", "in") if m["id"] == message]
        equal(len(rows), 1, "rows at the recipient")
    with tap.check("send --id repeated with another draft: 1, replay"):
        result = f.cli("EE.POLICE", "--json", *words, "--text", "Another.", code=1)
        equal(error_of(result)["code"], "replay", "code")
        equal(f.show("EE.CUSTOMS", message)["text"], "The same.", "text")
    with tap.check("send --id with an attachment: repeated equal 0, other bytes replay"):
        name = f.scratch("evidence.bin")
        message = uuid7(tap.random)
        again = ["send", "--to", "EE.CUSTOMS", "--kind", "information", "--subject", "A", "--text", "t",
                 "--attach", name, "--id", message]
        for content, code in ((b"one" * 70_000, 0), (b"one" * 70_000, 0), (b"two" * 70_000, 1)):
            with open(name, "wb") as out:
                out.write(content)
            f.cli("EE.POLICE", *again, code=code)


def refusals(tap, f):
    def refused(code, *words, to="LT.CUSTOMS"):
        result = f.cli("EE.POLICE", "--json", "send", "--to", to, "--kind", "request", "--subject", "S",
                       "--text", "T", *words)
        equal(result.code, 1, f"exit code ({result.err.strip()})")
        error = error_of(result)
        equal(error["code"], code, "code")
        assert error["message"] and error["next"], error

    before = len(f.list("EE.POLICE", "--box", "out", "--limit", "1000"))
    with tap.check("an agency that the directory lacks is refused"):
        refused("unknown-agency", to="EE.NAVY")
    with tap.check("a level above the recipient's ceiling is refused, naming it"):
        refused("level-ceiling", "--level", "SECRET")
        refused("level-ceiling", "--level", "CONFIDENTIAL")
    with tap.check("H3 without its text is refused"):
        refused("code-text-missing", "--handling", "H3")
    with tap.check("H0 excludes other codes"):
        result = f.cli("EE.POLICE", "--json", "send", "--to", "LT.POLICE", "--kind", "request",
                       "--subject", "S", "--text", "T", "--handling", "H0,H1")
        assert result.code in (1, 2), f"exit code {result.code}: {result.err}"
    with tap.check("too long a subject and text are refused"):
        result = f.cli("EE.POLICE", "--json", "send", "--to", "LT.POLICE", "--kind", "request",
                       "--subject", "s" * 513, "--text", "T")
        assert result.code in (1, 2), f"exit code {result.code}"
        big = f.scratch("big.txt")
        with open(big, "w", encoding="utf-8") as out:
            out.write("t" * (1024 * 1024 + 1))
        result = f.cli("EE.POLICE", "--json", "send", "--to", "LT.POLICE", "--kind", "request",
                       "--subject", "s", "--text-file", big)
        assert result.code in (1, 2), f"exit code {result.code}"
        f.send("EE.POLICE", "LT.POLICE", subject="s" * 512)
    with tap.check("a refused draft leaves nothing behind"):
        equal(len(f.list("EE.POLICE", "--box", "out", "--limit", "1000")), before + 1, "messages")


def exit_codes(tap, f, message):
    with tap.check("a wrong command line ends with 2"):
        for words in (["send"], ["frobnicate"], ["list", "--limit", "x"], ["list", "--box", "attic"],
                      ["show"], ["send", "--to", "EE.CUSTOMS", "--kind", "gossip", "--subject", "S"]):
            equal(f.cli("EE.POLICE", *words).code, 2, f"exit code of {words}")
    with tap.check("what is not there ends with 7"):
        for words in (["show", uuid7(tap.random)], ["receipts", uuid7(tap.random)],
                      ["save", uuid7(tap.random), "--to", f.base]):
            result = f.cli("EE.POLICE", "--json", *words)
            equal(result.code, 7, f"exit code of {words}")
            equal(error_of(result)["code"], "not-found", "code")
    with tap.check("without an agent it ends with 5"):
        for words in (["list"], ["send", "--to", "EE.CUSTOMS", "--kind", "request", "--subject", "S",
                                 "--text", "T"]):
            result = run(program("sealpost"), "--agent", f.scratch("nobody.sock"), *words)
            equal(result.code, 5, f"exit code of {words}")
    with tap.check("SEALPOST_AGENT names the agent"):
        run(program("sealpost"), "show", message, env={"SEALPOST_AGENT": f.socket("EE.POLICE")}, code=0)
    with tap.check("a uid that is no officer ends with 4"):
        if os.getuid() != 0:
            raise Skip("needs root to become another user")
        tool = f.scratch("bin")
        os.makedirs(tool)
        shutil.copy(program("sealpost"), os.path.join(tool, "sealpost"))
        for folder in (f.base, f.dir, f.path("agents"), f.agents["EE.POLICE"].home, tool):
            os.chmod(folder, 0o755)
        mode = stat.S_IMODE(os.stat(f.socket("EE.POLICE")).st_mode)
        os.chmod(f.socket("EE.POLICE"), 0o666)
        for words in (["list"], ["status"], ["show", message]):
            result = run(os.path.join(tool, "sealpost"), "--agent", f.socket("EE.POLICE"), "--json",
                         *words, become=NOBODY)
            equal(result.code, 4, f"exit code of {words} ({result.err.strip()})")
            equal(error_of(result)["code"], "not-allowed", "code")
        os.chmod(f.socket("EE.POLICE"), mode)
    with tap.check("--help and --version of every program and command"):
        for name in ("sealpost", "sealpost-broker", "sealpost-agent", "sealpost-certs", "sealpost-audit"):
            assert "usage" in run(program(name), "--help", code=0).out.lower(), name
            assert re.search(r"\d+\.\d+", run(program(name), "--version", code=0).out), name
        for name in ("send", "reply", "list", "show", "save", "receipts", "prove", "status", "directory",
                     "watch"):
            assert f.cli("EE.POLICE", name, "--help", code=0).out, name


def facts(tap, f, message):
    with tap.check("status tells what an officer needs"):
        status = f.cli("EE.POLICE", "--json", "status", code=0).json()
        equal((status["agency"], status["broker"], status["connected"]), ("EE.POLICE", "tallinn", True),
              "status")
        equal(sorted(status["roles"]), ["administrator", "auditor", "officer", "releaser"], "roles")
        assert int(status["log_size"]) > 0
    with tap.check("directory lists the six agencies and what each may do"):
        view = f.cli("EE.POLICE", "--json", "directory", code=0).json()
        equal(len(view["agencies"]), 6, "agencies")
        one = f.cli("EE.POLICE", "--json", "directory", "LT.CUSTOMS", code=0).json()["agencies"]
        equal([(a["name"], a["ceiling"], a["homes"]) for a in one],
              [("LT.CUSTOMS", "RESTRICTED", ["vilnius"])], "LT.CUSTOMS")
        equal(f.cli("EE.POLICE", "directory", "EE.NAVY").code, 7, "exit code of an unknown one")
    with tap.check("list filters by box, case, state, time and number"):
        assert all(m["direction"] == "out" for m in f.list("EE.POLICE", "--box", "out"))
        assert all(m["direction"] == "in" for m in f.list("EE.POLICE", "--box", "in"))
        ids = {m["id"] for m in f.list("EE.POLICE", "--case", "EE-2031-7")}
        assert message in ids and len(ids) == 2, f"of the case: {ids}"
        equal(f.list("EE.POLICE", "--case", "EE-2031-8"), [], "of another case")
        assert all(m["state"] == "delivered" for m in f.list("EE.POLICE", "--state", "delivered"))
        equal(len(f.list("EE.POLICE", "--limit", "2")), 2, "rows with --limit 2")
        assert message in {m["id"] for m in f.list("EE.POLICE", "--since", "2h", "--limit", "1000")}
        equal(f.list("EE.POLICE", "--since", "2100-01-01T00:00:00Z"), [], "since the future")
        newest = f.list("EE.POLICE", "--limit", "1000")
        equal([m["created"] for m in newest], sorted((m["created"] for m in newest), reverse=True),
              "order")
    with tap.check("entities, handling and a restriction arrive as sent"):
        vehicle = f.scratch("vehicle.json")
        with open(vehicle, "w", encoding="utf-8") as out:
            json.dump({"vehicle": {"registration": "123 ABC", "country": "EST", "make": "Škoda"}}, out)
        other = f.send("EE.POLICE", "LV.POLICE", "--entity", vehicle, "--handling", "H1,H3",
                       "--handling-text", "Not to be used before May.", "--urgency", "urgent", "--ground",
                       "risk to life", "--wait", "delivered")
        shown = f.show("LV.POLICE", other)
        equal(shown["handling"], ["H1", "H3"], "handling")
        equal(shown["handling_text"], "Not to be used before May.", "handling_text")
        equal((shown["urgency"], shown["ground"]), ("urgent", "risk to life"), "urgency")
        assert shown["entities"][0]["vehicle"]["make"] == "Škoda", shown["entities"]
    with tap.check("watch follows what comes"):
        watching = subprocess.Popen([program("sealpost"), "--agent", f.socket("LV.POLICE"), "--json",
                                     "watch"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            os.set_blocking(watching.stdout.fileno(), False)
            seen = b""
            ids = []

            def reported():
                nonlocal seen
                ids.append(f.send("EE.POLICE", "LV.POLICE", subject="Watched"))
                for _ in range(20):
                    seen += watching.stdout.read() or b""
                    if any(i.encode() in seen for i in ids):
                        return True
                    try:
                        watching.wait(0.05)
                    except subprocess.TimeoutExpired:
                        pass
                return False
            wait_for(reported, 20, "the event is printed")
            event = json.loads(seen.splitlines()[-1])
            assert {"at", "event", "message"} <= event.keys(), event
            assert not event["message"].get("text"), "watch opens nothing"
        finally:
            watching.kill()
            watching.wait()
            watching.stdout.close()


def stops(tap, f):
    with tap.check("every daemon stops cleanly on SIGTERM"):
        assert f.stop(), "one did not"


def configuration(tap, f):
    daemon = f.agents["EE.POLICE"]
    with tap.check("--check of a good configuration ends with 0"):
        for d in f.daemons():
            run(program(d.executable), "--config", d.config, "--check", code=0)
    with open(daemon.config, encoding="utf-8") as good:
        lines = good.read()
    cases = {"an unknown key": (lines + "colour: red\n", lines.count("\n") + 1),
             "a wrong type": ("store_mib: plenty\n" + lines, 1),
             "no YAML": ("agency: [\n" + lines, None),
             "a missing key": ("data: data\n", None)}
    for name, (text, line) in cases.items():
        with tap.check(f"--check of {name} ends with 3 and says where"):
            path = os.path.join(daemon.home, "bad.yaml")
            with open(path, "w", encoding="utf-8") as out:
                out.write(text)
            result = run(program("sealpost-agent"), "--config", path, "--check", code=3)
            if line is not None:
                assert re.search(rf"bad\.yaml:{line}:\d+", result.err), result.err
            else:
                assert "bad.yaml" in result.err, result.err
    with tap.check("a second daemon on the same data folder ends with 3 and names the holder"):
        for name in ("EE.POLICE", "tallinn"):
            d = f.daemon(name)
            result = run(program(d.executable), "--config", d.config, code=3, timeout=30)
            assert str(d.pid) in result.err + result.out, result.err
            assert d.alive()


def checks(tap):
    with Federation() as f:
        f.start()
        message, answer, attachment = main_job(tap, f)
        states_in_order(tap, f)
        ends(tap, f)
        repeated_ids(tap, f)
        refusals(tap, f)
        exit_codes(tap, f, message)
        facts(tap, f, message)
        configuration(tap, f)
        stops(tap, f)


if __name__ == "__main__":
    main(checks)
