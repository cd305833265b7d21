"""What the demo says to its reader."""
import os
import sys
import textwrap

WIDTH = 92
STYLED = sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def bold(text):
    return f"\033[1m{text}\033[0m" if STYLED else text


def step(number, title):
    print(f"\n{bold(f'{number}. {title}')}", flush=True)


def say(text):
    print(textwrap.fill(" ".join(text.split()), WIDTH, initial_indent="   ",
                        subsequent_indent="   "), flush=True)


def command(words):
    print(f"   $ {' '.join(words)}", flush=True)


def output(text, limit=40):
    lines = text.rstrip().splitlines()
    for line in lines[:limit]:
        print(f"     {line}", flush=True)
    if len(lines) > limit:
        print(f"     … {len(lines) - limit} more lines", flush=True)


def size(n):
    return f"{n / 1048576:.1f} MiB" if n >= 1048576 else f"{n / 1024:.1f} KiB"


class DemoError(Exception):
    """Something that the demo shows did not happen."""


def check(condition, what):
    if not condition:
        raise DemoError(what)
