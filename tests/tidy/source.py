"""Reading C source roughly: enough to count lines of functions and to find calls."""
import os
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LAYERS = {  # folder: what it may include
    "common": {"common"},
    "proto": {"common", "proto"},
    "certs": {"common", "proto", "certs"},
    "audit": {"common", "proto", "certs", "audit"},
    "peer": {"common", "proto", "certs", "audit", "peer"},
    "broker": {"common", "proto", "certs", "audit", "peer", "broker"},
    "agent": {"common", "proto", "certs", "audit", "peer", "agent"},
}


def tracked():
    """Every file that is in the repository or about to be, as a path from the root."""
    done = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"],
                          cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        files = done.stdout.splitlines()
    else:  # an unpacked archive
        files = [os.path.relpath(os.path.join(folder, name), ROOT)
                 for folder, _, names in os.walk(ROOT) for name in names]
        files = [f for f in files if not f.startswith(("build/", ".git/"))]
    return sorted(f for f in files if os.path.isfile(os.path.join(ROOT, f)))


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def folder_of(path):
    return path.split("/", 1)[0]


def product_sources(suffixes=(".c", ".h")):
    return [f for f in tracked() if folder_of(f) in LAYERS and f.endswith(suffixes)]


def c_sources():
    return [f for f in tracked() if f.endswith((".c", ".h"))]


TOKENS = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code_only(text):
    """Comments and the insides of strings blanked out; lines stay where they are."""
    def blank(match):
        word = match.group(0)
        if word.startswith(("/*", "//")):
            return re.sub(r"[^\n]", " ", word)
        return word[0] + " " * (len(word) - 2) + word[-1]
    return TOKENS.sub(blank, text)


def includes(text):
    return re.findall(r'^\s*#\s*include\s+([<"][^>"]+[>"])', text, re.M)


def functions(text):
    """(name, first line, lines) of each function definition, as clang-format lays them out."""
    lines = code_only(text).splitlines()
    found = []
    start = 0
    for number, line in enumerate(lines):
        if line == "{":
            begin = number
            while begin > 0 and lines[begin - 1].strip() and not lines[begin - 1].startswith(
                    ("#", "}", "/")) and not lines[begin - 1].rstrip().endswith(";"):
                begin -= 1
            start = begin
            head = " ".join(lines[begin:number])
            name = re.search(r"(\w+)\s*\(", head)
            end = next((n for n in range(number, len(lines)) if lines[n].startswith("}")), None)
            if name and end is not None:
                found.append((name.group(1), start + 1, end - start + 1))
    return found
