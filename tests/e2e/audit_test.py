#!/usr/bin/env python3
"""The auditors' program on the logs of real daemons, while they run and afterwards."""
import base64
import hashlib
import os
import shutil
import sys
import uuid

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))

from federation import AGENCIES, BROKERS, Federation, program, run, wait_for  # noqa: E402
from tap import equal, main  # noqa: E402


def merkle_root(leaves):
    """RFC 9162 2.1.1, written here again as an independent judge."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + merkle_root(leaves[:k]) + merkle_root(leaves[k:])).digest()


def exported_leaves(folder):
    """All entries of a C2SP tlog-tiles directory, in order."""
    bundles = []
    top = os.path.join(folder, "tile", "entries")
    for place, _, names in os.walk(top):
        for name in names:
            path = os.path.join(place, name)
            number = os.path.relpath(path, top).split(".p", 1)[0].replace("x", "").replace("/", "")
            width = int(name) if place.endswith(".p") else 256
            bundles.append((int(number), width, path))
    leaves = []
    for number, width, path in sorted(bundles):
        if any(n == number and w > width for n, w, _ in bundles):
            continue  # a narrower one of the same bundle
        with open(path, "rb") as f:
            data = f.read()
        while data:
            size = int.from_bytes(data[:2], "big")
            leaves.append(data[2:2 + size])
            data = data[2 + size:]
    return leaves


def fields(data):
    """(number, offset, length) of each field of a protobuf message that has only bytes and text."""
    found = []
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        size, at = varint(data, at)
        found.append((tag >> 3, at, size))
        at += size
    return found


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at


def exchange(f):
    """One message over all three brokers, opened and told back; then its id."""
    attachment = f.scratch("attachment")
    with open(attachment, "wb") as out:
        out.write(os.urandom(10_000))
    message = f.send("EE.POLICE", "LT.POLICE", "--attach", attachment, "--handling", "H2", "--case", "C-1",
                     "--wait", "delivered")
    f.show("LT.POLICE", message)
    f.wait_states("EE.POLICE", message, ("opened",))
    return message


def sources(f):
    return {d.name: d.data for d in f.daemons()}


def verify_all(tap, f, live):
    when = "while they run" if live else "when they are stopped"
    with tap.check(f"verify finds every log whole and anchored, {when}"):
        for name, data in sources(f).items():
            verdict = f.audit("--json", "verify", data, code=0).json()
            equal((verdict["holds"], verdict["anchored"]), (True, True), name)
            assert verdict["size"] > 0, f"{name}: {verdict}"
            if not live:
                equal(verdict["covered"], verdict["size"], f"leaves of {name} under a checkpoint")


def explain(tap, f, message):
    with tap.check("explain tells the exchange hop by hop with proofs"):
        text = f.audit("explain", message, *sources(f).values(), code=0).out
        for word in (*BROKERS, "EE.POLICE", "LT.POLICE", "took it into custody", "handed it over",
                     "stored it in its inbox", "for the first time"):
            assert word in text, f"{word} is not in:\n{text}"
        lines = f.audit("--json", "explain", message, *sources(f).values(), code=0).out
        assert message in lines
    with tap.check("explain of an exchange that no log knows ends with 7 or 1"):
        other = str(uuid.UUID(int=(0x019000000000 << 80) | (7 << 76) | (2 << 62) | 5))
        assert f.audit("explain", other, f.brokers["riga"].data).code in (1, 7)
    with tap.check("query finds the leaves of an event, and says no when there are none"):
        rows = f.audit("--json", "query", f.brokers["riga"].data, "--event", "accepted", "--handling", "H2",
                       code=0).lines()
        equal([r["id"] for r in rows], [message], "accepted at riga under H2")
        equal(f.audit("query", f.brokers["riga"].data, "--from", "LV.NAVY").code, 1, "exit code")
    with tap.check("no leaf holds content"):
        for data in sources(f).values():
            text = f.audit("--json", "query", data).out
            for word in ("Inquiry", "Please answer", "C-1"):
                assert word not in text, f"{word} is in a leaf of {data}"


def proofs(tap, f, message):
    path = f.scratch("proof")
    with tap.check("prove writes a proof that check accepts offline"):
        leaves = f.audit("--json", "query", f.brokers["riga"].data, "--event", "accepted", code=0).lines()
        index = next(str(r["index"]) for r in leaves if r["id"] == message)
        f.audit("prove", f.brokers["riga"].data, "--index", index, "--to", path, code=0)
        shown = f.audit("--json", "check", path, code=0).json()
        equal((shown["holds"], shown["anchored"]), (True, True), "verdict")
        run(program("sealpost-audit"), "check", path, code=0)
        f.audit("prove", f.agents["LT.POLICE"].data, "--index", "0", "--to", f.scratch("first"), code=0)
        f.audit("check", f.scratch("first"), code=0)
    with tap.check("an altered proof is refused with 8"):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        spots = [i for i, c in enumerate(text) if c.isalnum() and text.rfind("\n", 0, i) > 0]
        wrong = 0
        for spot in tap.random.sample(spots, min(60, len(spots))):
            bad = f.scratch("bad-proof")
            with open(bad, "w", encoding="utf-8") as out:
                out.write(text[:spot] + ("A" if text[spot] != "A" else "B") + text[spot + 1:])
            code = f.audit("check", bad).code
            assert code in (1, 3, 7, 8), f"altered at {spot}: exit code {code}"
            wrong += code == 8
        assert wrong > 20, f"only {wrong} were integrity failures"


def evidence(tap, f, message):
    plain, disclosed = f.scratch("evidence"), f.scratch("evidence-disclosed")
    with tap.check("evidence of the sender and of the recipient holds, with and without the file key"):
        f.cli("EE.POLICE", "prove", message, "--to", plain, code=0)
        f.cli("LT.POLICE", "prove", message, "--disclose", "--to", disclosed, code=0)
        for path in (plain, disclosed):
            text = f.audit("check", path, code=0).out
            assert message in text and "stored it in its inbox" in text, text
        assert "not disclosed" in f.audit("check", plain).out
        assert "matches" in f.audit("check", disclosed).out
        equal(f.cli("EE.POLICE", "prove", message, "--to", plain).code, 1, "exit code of overwriting")
    with tap.check("altered evidence is refused"):
        with open(plain, "rb") as file:
            good = file.read()
        # Of a CA only the key counts, which the directory pins: the rest of it may be anything.
        spots = [i for number, at, size in fields(good) if number != 4 for i in range(at, at + size)]
        assert len(spots) > 3000
        for spot in tap.random.sample(spots, 40):
            bad = f.scratch("bad-evidence")
            with open(bad, "wb") as out:
                out.write(good[:spot] + bytes([good[spot] ^ 1 << tap.random.randrange(8)])
                          + good[spot + 1:])
            code = f.audit("check", bad).code
            assert code in (1, 3, 8), f"altered at byte {spot} of {len(good)}: exit code {code}"


def exports(tap, f):
    folder = f.scratch("tiles")
    with tap.check("exported tiles give the checkpoint's root by another implementation"):
        f.audit("export", f.brokers["riga"].data, "--to", folder, code=0)
        with open(os.path.join(folder, "checkpoint"), encoding="utf-8") as file:
            _, size, root = file.read().split("\n")[:3]
        leaves = exported_leaves(folder)
        equal(len(leaves), int(size), "leaves")
        equal(merkle_root(leaves), base64.b64decode(root), "root")


def consistency(tap, f):
    old = f.scratch("old-riga")
    with tap.check("consistency accepts a log that grew, and refuses another history"):
        shutil.copytree(f.brokers["riga"].data, old)
        f.start()
        f.send("EE.POLICE", "LT.POLICE", "--wait", "delivered")
        wait_for(lambda: f.audit("--json", "query", f.brokers["riga"].data, "--event",
                                 "delivered").out.count("\n") >= 2, 20, "riga has logged it")
        assert f.stop()
        f.audit("consistency", old, f.brokers["riga"].data, code=0)
        code = f.audit("consistency", f.brokers["riga"].data, old).code
        assert code in (1, 8), f"exit code of a log that shrank: {code}"
        fork = f.scratch("fork")
        shutil.copytree(f.brokers["riga"].data, fork)
        shutil.rmtree(f.brokers["riga"].data)
        shutil.copytree(old, f.brokers["riga"].data)
        f.start("riga", "LV.POLICE", "LV.CUSTOMS")
        f.send("LV.POLICE", "LV.CUSTOMS", "--wait", "delivered")
        f.stop()
        equal(f.audit("consistency", fork, f.brokers["riga"].data).code, 8, "exit code of a fork")


def tampering(tap, f, message):
    identity = uuid.UUID(message).bytes
    for name in ("riga", "LT.POLICE"):
        with tap.check(f"an altered leaf in the store of {name} is found with 8"):
            copy = f.scratch(f"tampered-{name}")
            shutil.copytree(f.daemon(name).data, copy)
            path = os.path.join(copy, "store", "data.mdb")
            with open(path, "rb") as file:
                data = bytearray(file.read())
            found = 0
            at = data.find(identity)
            while at >= 0:
                # in a leaf the id is followed by the tag and length of the digest, field 6
                if data[at + 16:at + 18] == b"\x32\x20":
                    data[at + 20] ^= 1
                    found += 1
                at = data.find(identity, at + 1)
            assert found > 0, "the leaf was not found in the file"
            with open(path, "wb") as out:
                out.write(data)
            verdict = f.audit("verify", copy)
            equal(verdict.code, 8, f"exit code\n{verdict.out}{verdict.err}")
            assert "DOES NOT HOLD" in verdict.out and "leaf" in verdict.out, verdict.out


def checks(tap):
    with Federation() as f:
        f.start()
        message = exchange(f)
        verify_all(tap, f, True)
        evidence(tap, f, message)
        with tap.check("every daemon stops cleanly"):
            assert f.stop()
        verify_all(tap, f, False)
        with tap.check("without a root verify speaks of internal consistency only"):
            text = run(program("sealpost-audit"), "verify", f.brokers["riga"].data, code=0).out
            assert "not anchored" in text, text
        explain(tap, f, message)
        proofs(tap, f, message)
        exports(tap, f)
        tampering(tap, f, message)
        consistency(tap, f)
        assert set(sources(f)) == {*BROKERS, *AGENCIES}


if __name__ == "__main__":
    main(checks)
