#!/usr/bin/env python3
"""Real files as bodies and attachments arrive byte for byte.

The shipped selection is tests/data. A larger one is used too when SEALPOST_SHARED names a folder
with data/{intel-cases,bodies,attachments,...}, or ../shared/data is there.
"""
import concurrent.futures
import os
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))

from federation import Federation, sha256_file, wait_for  # noqa: E402
from tap import ROOT, equal, main, note  # noqa: E402

TEXT_MAX = 1024 * 1024
ATTACHMENTS_MAX = 99
ROUTES = (("EE.POLICE", "LT.POLICE"), ("LV.CUSTOMS", "EE.CUSTOMS"), ("LT.CUSTOMS", "LV.POLICE"),
          ("EE.CUSTOMS", "EE.POLICE"))


def files_below(folder):
    found = []
    for place, _, names in os.walk(folder):
        found += [os.path.join(place, n) for n in names]
    return sorted(found)


def is_text(path):
    """A body is UTF-8 without NUL, up to 1 MiB."""
    if not 0 < os.path.getsize(path) <= TEXT_MAX:
        return False
    with open(path, "rb") as f:
        data = f.read()
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\0" not in data


def subject(path):
    return os.path.basename(path)[:100]


def as_body(f, path, route):
    sender, recipient = route
    message = f.send(sender, recipient, "--text-file", path, "--wait", "delivered", "--timeout", "60s",
                     kind="information", subject=subject(path), text=None, timeout=90)
    with open(path, encoding="utf-8", newline="") as file:
        wanted = file.read()
    got = f.show(recipient, message)["text"]
    assert got == wanted, f"{path}: text differs"
    with tempfile.TemporaryDirectory(dir=f.base) as folder:
        f.cli(recipient, "save", message, "--part", "0", "--to", folder, code=0)
        saved = [os.path.join(folder, n) for n in os.listdir(folder)]
        equal(len(saved), 1, "saved files")
        equal(sha256_file(saved[0]), sha256_file(path), f"{path} saved")


def as_attachments(f, paths, route):
    """One message with up to 99 files; names that stand twice are kept apart by the saver."""
    sender, recipient = route
    words = [w for p in paths for w in ("--attach", p)]
    message = f.send(sender, recipient, *words, "--wait", "delivered", "--timeout", "120s",
                     kind="information", subject=f"{len(paths)} files", timeout=180)
    shown = f.show(recipient, message)["attachments"]
    shown = [a for a in shown if a["part"] > 0]
    equal([(a["name"], a["size"], a["sha256"]) for a in shown],
          [(os.path.basename(p), os.path.getsize(p), sha256_file(p)) for p in paths], "attachments")
    with tempfile.TemporaryDirectory(dir=f.base) as folder:
        f.cli(recipient, "save", message, "--to", folder, code=0, timeout=120)
        saved = sorted(sha256_file(p) for p in files_below(folder))
        for path in paths:
            digest = sha256_file(path)
            assert digest in saved, f"{path} is not among the saved files"
            saved.remove(digest)
        equal(saved, [], "saved files that are no attachment")


def distinct_names(paths):
    """Batches in which every base name stands once."""
    batches = []
    for path in paths:
        for batch in batches:
            if len(batch) < ATTACHMENTS_MAX and os.path.basename(path) not in \
                    {os.path.basename(p) for p in batch}:
                batch.append(path)
                break
        else:
            batches.append([path])
    return batches


def all_of(work, items):
    """Runs `work` on each, two at a time; fails with the first that failed."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(work, i, item) for i, item in enumerate(items)]
        for job in jobs:
            job.result()


def shared_folder():
    place = os.environ.get("SEALPOST_SHARED") or os.path.join(ROOT, "..", "shared")
    place = os.path.join(place, "data")
    return os.path.realpath(place) if os.path.isdir(place) else None


def checks(tap):
    shipped = [p for p in files_below(os.path.join(ROOT, "tests", "data"))]
    texts = [p for p in shipped if is_text(p)]
    with Federation() as f:
        f.start()
        with tap.check(f"{len(texts)} texts arrive as body, in their scripts and formats"):
            assert len(texts) > 30
            all_of(lambda i, p: as_body(f, p, ROUTES[i % len(ROUTES)]), texts)
        with tap.check(f"{len(shipped)} files arrive as attachments"):
            assert len(shipped) > 40
            all_of(lambda i, b: as_attachments(f, b, ROUTES[i % len(ROUTES)]), distinct_names(shipped))
        with tap.check("odd names, no byte, one byte, and sizes about a chunk arrive"):
            folder = f.scratch("odd")
            os.mkdir(folder)
            for name, size in (("empty", 0), ("one", 1), ("chunk-1", 65535), ("chunk", 65536),
                               ("chunk+1", 65537), ("inline", 131072 - 4096), ("file", 131073),
                               ("name with  blanks", 10), ("šķīvis–λ–文書.txt", 20), ("-dash", 30),
                               ("a" * 251 + ".bin", 40)):
                with open(os.path.join(folder, name), "wb") as out:
                    out.write(tap.random.randbytes(size))
            as_attachments(f, files_below(folder), ROUTES[0])
        shared = shared_folder()
        if shared is None:
            note("no shared data here: only the shipped selection was sent")
        else:
            more = [p for p in files_below(shared)
                    if os.path.relpath(p, shared).split("/")[0] in ("intel-cases", "bodies", "attachments")]
            with tap.check(f"{len(more)} further files arrive as attachments"):
                all_of(lambda i, b: as_attachments(f, b, ROUTES[i % len(ROUTES)]), distinct_names(more))
            with tap.check("further texts arrive as body"):
                chosen = [p for p in more if is_text(p)]
                chosen = tap.random.sample(chosen, min(40, len(chosen)))
                all_of(lambda i, p: as_body(f, p, ROUTES[i % len(ROUTES)]), chosen)
        with tap.check("nothing waits any more"):
            for agency in ("EE.POLICE", "LV.CUSTOMS", "LT.CUSTOMS", "EE.CUSTOMS"):
                wait_for(lambda a=agency: int(f.cli(a, "--json", "status", code=0).json()
                                              ["outbox_pending"]) == 0, 20, f"{agency} has sent all")


if __name__ == "__main__":
    main(checks)
