#!/usr/bin/env python3
"""The rules of the house that can be counted: includes, sizes, banned calls, documents, hardening."""
import importlib.machinery
import importlib.util
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

import source  # noqa: E402
from source import ROOT  # noqa: E402
from tap import main  # noqa: E402

# Outside library: who may include its headers.
OWNERS = {
    r"<lmdb\.h>": r"common/store(_\w+)?\.[ch]$",
    r"<zmq(_utils)?\.h>": r"common/net(_\w+)?\.c$|common/net_internal\.h$|tests/lib/net_node\.h$",
    r"<sodium(/.*)?\.h>": r"common/(crypto_\w+|secret|env)\.c$",
    r"<openssl/.*>": r"common/crypto_\w+\.c$|certs/x509_\w+\.[ch]$",
    r"<protobuf-c/.*>": r"proto/pb(_\w+)?\.[ch]$|tests/unit/proto/message_kit\.h$",
    r"<jansson\.h>": r"proto/pb_json\.c$|certs/cmd(_\w+)?\.[ch]$|agent/cli_read\.c$|tests/",
    r"<yaml\.h>": r"common/config(_\w+)?\.[ch]$",
    r"<systemd/.*>": r"common/log\.c$",
    r"<seccomp\.h>": r"common/sandbox(_\w+)?\.[ch]$",
}
PROTOBUF_CALLS = r"\bprotobuf_c_\w+\s*\(|\bsp__\w+__(?:pack|unpack|free_unpacked|get_packed_size)\w*\s*\("
BANNED = {
    "strcpy": "no bound", "strcat": "no bound", "stpcpy": "no bound", "sprintf": "no bound",
    "vsprintf": "no bound", "gets": "no bound", "strncpy": "leaves no NUL", "strncat": "miscounted",
    "strtok": "global state", "atoi": "no errors", "atol": "no errors", "atoll": "no errors",
    "atof": "no errors", "scanf": "no bound", "fscanf": "no bound",
    "system": "a shell", "popen": "a shell", "rand": "predictable", "srand": "predictable",
    "random": "predictable", "drand48": "predictable", "tmpnam": "a race", "mktemp": "a race",
    "tempnam": "a race", "alloca": "the stack", "setjmp": "skips cleanup", "longjmp": "skips cleanup",
    "sleep": "wait for what you need", "usleep": "wait for what you need",
    "gethostbyname": "global state", "localtime": "global state", "gmtime": "global state",
    "ctime": "global state", "asctime": "global state", "strerror": "global state",
}
# Objects that change, by source file: why they must.
MUTABLE = {
    "log.c": "level and sink of the process's one log",
    "secret.c": "libsodium is initialised once for the process",
}
# Sources without a unit test under their own name or that of their module: what tests them.
TESTED_ELSEWHERE = {
    "agent/sealpost_main.c": "only a command table; tests/e2e/exchange_test.py",
    "agent/cli_": "needs a running agent; tests/e2e/exchange_test.py",
    "agent/client.c": "needs a running agent; tests/e2e/exchange_test.py",
    "agent/agent_main.c": "only a command table; tests/e2e/exchange_test.py",
    "agent/daemon": "a whole process; tests/e2e/exchange_test.py, tests/crash/kill_test.py",
    "agent/run": "a whole process; tests/e2e/exchange_test.py, tests/crash/kill_test.py",
    "agent/server": "a whole process; tests/e2e/exchange_test.py",
    "agent/session": "a whole process; tests/e2e/exchange_test.py",
    "agent/board.c": "a whole process; tests/e2e/exchange_test.py",
    "agent/intake.c": "a whole process; tests/e2e/data_test.py, tests/e2e/large_test.py",
    "agent/opening.c": "a whole process; tests/e2e/data_test.py, tests/e2e/large_test.py",
    "agent/content.c": "a whole process; tests/e2e/exchange_test.py",
    "agent/serve": "a whole process; tests/e2e/exchange_test.py",
    "audit/audit_main.c": "only main(); tests/unit/audit/cmd_test.c runs the commands",
    "broker/broker_main.c": "only a command table; tests/e2e/exchange_test.py",
    "broker/daemon": "a whole process; tests/e2e/exchange_test.py, tests/crash/kill_test.py",
    "broker/run": "a whole process; tests/e2e/hostile_test.py, tests/crash/kill_test.py",
    "broker/settings.c": "a table; tests/unit/common/config_test.c, tests/e2e/exchange_test.py",
    "certs/certs_main.c": "only a command table; tests/e2e/certs_ceremony.sh",
    "certs/cmd": "commands; tests/e2e/certs_ceremony.sh",
    "common/shell": "threads of a whole process; tests/e2e/exchange_test.py",
    "common/queue.c": "threads of a whole process; tests/e2e/exchange_test.py",
    "peer/": "threads of a whole process; tests/e2e/hostile_test.py, tests/e2e/large_test.py",
    "agent/core_store.c": "records of the core; tests/unit/agent/core_trace_test.c",
    "audit/anchor.c": "keys for the commands; tests/unit/audit/cmd_test.c",
    "audit/jsonline.c": "output of the commands; tests/unit/audit/cmd_test.c",
    "audit/note.c": "notes under checkpoints; tests/unit/audit/checkpoint_test.c",
    "audit/read.c": "records of the log; tests/unit/audit/log_test.c",
    "audit/source.c": "input of the commands; tests/unit/audit/cmd_test.c",
    "broker/core_control.c": "receipts on their way; tests/unit/broker/core_trace_test.c",
    "broker/core_store.c": "records of the core; tests/unit/broker/core_trace_test.c",
    "certs/directory.c": "the code book; tests/unit/certs/document_directory_test.c",
    "certs/document_root.c": "one kind of document; tests/unit/certs/documents_test.c",
    "certs/issue.c": "signing documents; tests/unit/certs/documents_test.c",
    "certs/why.c": "words of errors; tests/e2e/certs_ceremony.sh",
    "common/crypto_hpke.c": "behind common/hpke.h; tests/unit/common/hpke_test.c",
    "proto/batch_cache.c": "behind proto/envelope.h; tests/unit/proto/envelope_test.c",
    "proto/wrap_pool.c": "behind proto/seal.h; tests/unit/proto/seal_test.c",
    "common/progress.c": "drawing on a terminal",
    "common/env.c": "the real clock and random source, behind what every test injects",
}
PROGRAMS = ("sealpost-broker", "sealpost-agent", "sealpost", "sealpost-certs", "sealpost-audit")


def none(findings):
    """Fails with the list when there is one."""
    assert not findings, f"{len(findings)} findings:\n  " + "\n  ".join(findings[:40])


def check_includes(tap):
    sources = {f: source.read(f) for f in source.c_sources()}
    assert len(sources) > 100, "the sources were not found"
    with tap.check("each outside library has one owner"):
        none([f"{f}: {header}" for f, text in sources.items() for header in source.includes(text)
              for pattern, owner in OWNERS.items()
              if re.fullmatch(pattern, header) and not re.match(owner, f)])
    with tap.check("functions of protobuf-c are called in proto/pb*.c alone"):
        none([f"{f}: {call}" for f, text in sources.items() if source.folder_of(f) in source.LAYERS
              and not re.match(r"proto/pb(_\w+)?\.[ch]$", f)
              for call in re.findall(PROTOBUF_CALLS, source.code_only(text))])
    with tap.check("dependencies point one way"):
        wrong = []
        for f, text in sources.items():
            allowed = source.LAYERS.get(source.folder_of(f))
            for header in source.includes(text):
                place = re.match(r'"(\w+)/', header)
                if allowed and place and place.group(1) not in allowed:
                    wrong.append(f"{f}: {header}")
                elif allowed and header[0] == '"' and not place and "pb-c.h" not in header \
                        and not header.endswith('.def"'):
                    wrong.append(f"{f}: {header} is not from the root")
        none(wrong)
    with tap.check("cores have no socket, file, clock, thread or log"):
        outside = r'<(sys/socket|fcntl|pthread|poll|time|stdio|unistd|threads)\.h>|"common/(log|net|shell|file)\.h"'
        none([f"{f}: {h}" for f, text in sources.items()
              if re.match(r"(broker|agent)/core(_\w+)?\.[ch]$", f)
              for h in source.includes(text) if re.fullmatch(outside, h) and h != "<stdio.h>"])


def check_sizes(tap):
    texts = {f: source.read(f) for f in source.tracked() if f.endswith((".c", ".h", ".def", ".proto", ".py"))
             or f in ("run", "tests/run-tests", "deploy/demo/demo")}
    with tap.check("no file has more than 600 lines"):
        none([f"{f}: {len(t.splitlines())}" for f, t in texts.items() if len(t.splitlines()) > 600])
    with tap.check("no line has more than 100 columns"):
        none([f"{f}:{n}" for f, t in texts.items() if f.endswith((".c", ".h", ".def", ".proto"))
              for n, line in enumerate(t.splitlines(), 1) if len(line) > 100])
    with tap.check("no function has more than 70 lines"):
        counted = 0
        wrong = []
        for f, t in texts.items():
            if not f.endswith((".c", ".h")):
                continue
            for name, line, lines in source.functions(t):
                counted += 1
                if lines > 70:
                    wrong.append(f"{f}:{line} {name}: {lines}")
        assert counted > 1000, f"only {counted} functions were found"
        none(wrong)


def check_calls(tap):
    with tap.check("no banned call"):
        pattern = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
        none([f"{f}: {m.group(1)}: {BANNED[m.group(1)]}" for f in source.product_sources()
              for m in pattern.finditer(source.code_only(source.read(f)))])
    with tap.check("no conditional inside a function"):
        wrong = []
        for f in source.product_sources((".c",)):
            lines = source.read(f).splitlines()
            for _, first, count in source.functions("\n".join(lines)):
                wrong += [f"{f}:{n + 1}" for n in range(first - 1, first - 1 + count)
                          if re.match(r"\s*#\s*(if|ifdef|ifndef)\b", lines[n])]
        none(wrong)
    with tap.check("nothing calls inside an assertion"):
        harmless = r"span_|digest_|strlen|strcmp|memcmp|text_is_|uuid_|sizeof|trust_|envelope_"
        wrong = []
        for f in source.product_sources((".c",)):
            code = source.code_only(source.read(f))
            for m in re.finditer(r"\bassert\(([^;]*)\);", code):
                if re.search(r"[^=!<>]=[^=]|\+\+|--", m.group(1)):
                    wrong.append(f"{f}: assert({m.group(1)})")
                for call in re.findall(r"\b(\w+)\s*\(", m.group(1)):
                    if not re.match(harmless, call) and re.search(r"_(put|set|add|send|free|new)$", call):
                        wrong.append(f"{f}: assert calls {call}")
        none(wrong)


def check_words(tap):
    marks = "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X:", "HA" + "CK:"))
    places = "|".join(("/wo" + "rk/", "/ho" + "me/", "/ro" + "ot/", "/ho" + "st/"))
    with tap.check("nothing is left for later, and no path of one machine"):
        wrong = []
        for f in source.tracked():
            if f.startswith(("tests/vectors/", "tests/data/")) or f == "LICENSE":
                continue
            for n, line in enumerate(source.read(f).splitlines(), 1):
                for m in re.finditer(rf"\b(?:{marks})|(?<![\w.])(?:{places})", line):
                    wrong.append(f"{f}:{n}: {m.group(0)}")
        none(wrong)


def check_mirrors(tap):
    tests = {f for f in source.tracked() if f.startswith("tests/unit/") and f.endswith("_test.c")}
    modules = {}
    for t in tests:
        folder, name = t.removeprefix("tests/unit/").split("/", 1)
        modules.setdefault(folder, set()).add(name.removesuffix("_test.c"))
    untested = []
    used = set()
    for f in source.product_sources((".c",)):
        folder, name = f.removesuffix(".c").split("/", 1)
        mine = modules.get(folder, set())
        if any(name == m or name.startswith(m + "_") for m in mine) or \
                any(m.startswith(name + "_") for m in mine):
            continue
        reason = next((k for k in TESTED_ELSEWHERE if f.startswith(k)), None)
        used.add(reason)
        if reason is None:
            untested.append(f)
    with tap.check("each source has a unit test, or it is said what tests it"):
        none(untested)
    with tap.check("each test named in place of a unit test is there"):
        none([f"{k}: {place}" for k in used if k for place in
              re.findall(r"tests/[\w/]+\.\w+", TESTED_ELSEWHERE[k])
              if not os.path.exists(os.path.join(ROOT, place))])


def check_documents(tap):
    loader = importlib.machinery.SourceFileLoader("refusals", os.path.join(HERE, "refusals"))
    refusals = importlib.util.module_from_spec(importlib.util.spec_from_loader("refusals", loader))
    loader.exec_module(refusals)
    with tap.check("docs/refusals.md is what common/errors.def says"):
        assert source.read("docs/refusals.md") == refusals.document(), \
            "run tests/tidy/refusals > docs/refusals.md"
    with tap.check("every refusal is in docs/refusals.md"):
        text = source.read("docs/refusals.md")
        codes = [row[0] for row in refusals.rows() if row[1] in ("PEER", "RETRY")]
        assert len(codes) > 25
        none([c for c in codes if f"| `{c}` |" not in text])
    with tap.check("packages of ./run and docs/DEPENDENCIES.md are the same"):
        lists = re.findall(r"^PACKAGES(?:_MORE)?=\((.*?)\)", source.read("run"), re.S | re.M)
        assert len(lists) == 2
        installed = set(" ".join(lists).split())
        document = source.read("docs/DEPENDENCIES.md")
        rows = re.findall(r"^\| ([^|]+) \|", document, re.M)[1:]
        more = re.search(r"Only for those who change the code.*", document, re.S).group(0)
        named = set()
        for text in [*rows, more.split(":", 1)[1]]:
            named |= set(re.findall(r"[a-z][a-z0-9+.-]*[a-z0-9]", re.sub(r"\([^)]*\)", "", text)))
        none([f"{p}: not in docs/DEPENDENCIES.md" for p in sorted(installed - named)]
             + [f"{p}: not installed by ./run" for p in sorted(named - installed)])
    with tap.check("links between documents lead somewhere"):
        wrong = []
        for f in source.tracked():
            if not f.endswith(".md") or f.startswith(("tests/vectors/", "tests/data/")):
                continue
            for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", source.read(f)):
                if "://" not in target and not os.path.exists(
                        os.path.join(ROOT, os.path.dirname(f), target)):
                    wrong.append(f"{f}: {target}")
        none(wrong)


def readelf(*words):
    return subprocess.run(["readelf", "-W", *words], capture_output=True, text=True, check=True).stdout


def changing_objects(path):
    """(source, name) of the objects in writable sections that the program itself defines."""
    sections = {}
    for m in re.finditer(r"^\s*\[\s*(\d+)\]\s+(\S+)\s+\S+\s+\S+\s+\S+\s+\S+\s+\S+\s+(\w*)",
                         readelf("-S", path), re.M):
        sections[m.group(1)] = m.group(2)
    where = ""
    found = []
    for line in readelf("-s", path).splitlines():
        m = re.match(r"\s*\d+: \w+\s+(\w+)\s+(\w+)\s+(\w+)\s+\w+\s+(\w+)(?:\s+(\S+))?", line)
        if not m:
            continue
        size, kind, bind, index, name = m.groups()
        if kind == "FILE":
            where = name or ""
        elif kind in ("OBJECT", "TLS") and sections.get(index) in (".data", ".bss", ".tdata", ".tbss") \
                and "@" not in (name or "") and int(size, 0) > 0:
            found.append((where if bind == "LOCAL" else "(global)", name))
    return found


def check_programs(tap):
    programs = os.environ.get("SEALPOST_BIN") or os.path.join(ROOT, "build", "bin")
    if not all(os.path.exists(os.path.join(programs, p)) for p in PROGRAMS):
        subprocess.run([os.path.join(ROOT, "run"), "build"], check=True)
    for p in PROGRAMS:
        path = os.path.join(programs, p)
        with tap.check(f"{p} is hardened"):
            header, dynamic, segments = readelf("-h", path), readelf("-d", path), readelf("-l", path)
            symbols = readelf("--dyn-syms", path)
            wanted = {
                "position independent": "DYN (Position-Independent" in header,
                "all relocations at start": "BIND_NOW" in dynamic or "Flags: NOW" in dynamic,
                "relocations read-only": "GNU_RELRO" in segments,
                "no executable stack": re.search(r"GNU_STACK.* RW ", segments) is not None,
                "stack protector": "__stack_chk_fail" in symbols,
                "no segment writable and executable": "RWE" not in segments,
            }
            none([k for k, holds in wanted.items() if not holds])
        with tap.check(f"{p} has no object that changes but those with a reason"):
            ours = [(w, n) for w, n in changing_objects(path)
                    if not w.startswith(("crtstuff", "crt1", "Scrt1")) and not n.startswith("__")]
            none([f"{w}: {n}" for w, n in ours if w not in MUTABLE])


def checks(tap):
    check_includes(tap)
    check_sizes(tap)
    check_calls(tap)
    check_words(tap)
    check_mirrors(tap)
    check_documents(tap)
    check_programs(tap)


if __name__ == "__main__":
    main(checks)
