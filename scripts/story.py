"""The story that `scripts/up` tells, with nothing but the built command: start a node, store real text, ask it.

Ends with 1 when fewer than NEEDED of the questions find their answer among the first five. Whatever it started it ends,
unless `--keep` is given.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
AIMEM = ROOT / "dist" / "aimem"
NEEDED = 7
AMONG = 5


def aimem(*arguments: str, quiet: bool = False) -> str:
    """Run a command, its messages going where ours go. What it printed."""
    done = subprocess.run(
        [sys.executable, AIMEM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else None,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"aimem {' '.join(arguments)}: exit code {done.returncode}")
    return done.stdout


class Node:
    """A node in a folder of its own, on a free port."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="aimem-up-"))
        self.log = self.folder / "node.log"
        command = [sys.executable, AIMEM, "serve", "--db", self.folder / "aimem.db", "--bind", "127.0.0.1:0"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        self.url = self._address()

    def _address(self) -> str:
        while self.process.poll() is None:
            for word in self.log.read_text().split():
                if word.startswith("http://127.0.0.1:"):
                    return word.rstrip(".,")
            time.sleep(0.05)
        raise SystemExit(f"the node did not start:\n{self.log.read_text()}")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        shutil.rmtree(self.folder)


def store(node: Node, limit: str) -> int:
    """Push the documentation strings of this Python's standard library. How many there are."""
    texts = node.folder / "texts.jsonl"
    with texts.open("w") as file:
        subprocess.run([sys.executable, ROOT / "scripts" / "stdlib-texts", "--limit", limit], stdout=file, check=True)
    count = sum(1 for _ in texts.open())
    print(f"\n1. Storing {count} documentation strings of Python's standard library, one namespace per module.")
    began = time.monotonic()
    aimem("push", "--to", node.url, "--jsonl", str(texts))
    print(f"   Stored, each on disk when it was acknowledged: {time.monotonic() - began:.1f} s.")
    return count


def embed(node: Node) -> None:
    print("2. They can be found by their words at once; the vectors for their meaning are made in the background.")
    began = time.monotonic()
    aimem("status", "--to", node.url, "--wait-embedded", "3600", "--json")
    print(f"   All have one: {time.monotonic() - began:.1f} s.")


def ask(node: Node, question: str, modules: list[str]) -> bool:
    """Ask one question; print the best answers. True when a module that is expected is among them."""
    began = time.monotonic()
    reply: dict[str, Any] = json.loads(aimem("query", "--to", node.url, "--limit", str(AMONG), "--json", question))
    took = (time.monotonic() - began) * 1_000
    found = [memory["namespace"] for memory in reply["memories"]]
    rank = next((at for at, namespace in enumerate(found, 1) if namespace in modules), None)
    print(f"\n   {question}   [{reply['mode']}, {took:.0f} ms]")
    for at, memory in enumerate(reply["memories"][:3], 1):
        mark = "*" if memory["namespace"] in modules else " "
        line = " ".join(memory["content"].split())
        print(f"   {mark} {at}. {memory['score']:.2f}  {memory['title']}: {line[:70]}")
    print(f"     {'expected answer at rank ' + str(rank) if rank else 'expected one of ' + ', '.join(modules)}")
    return rank is not None


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/up", description="Show a node at work on real text.")
    parser.add_argument("--keep", action="store_true", help="leave the node running")
    parser.add_argument("--limit", default="1000000", metavar="N", help="store only so many texts")
    options = parser.parse_args()
    node = Node()
    try:
        print(f"A node serves {node.url}; its database is in {node.folder}.")
        store(node, options.limit)
        embed(node)
        questions = json.loads((ROOT / "scripts" / "questions.json").read_text())
        print(f"3. {len(questions)} questions in plain English, that share few words with their answers (* expected):")
        found = sum(ask(node, each["question"], each["modules"]) for each in questions)
    except BaseException:
        node.stop()
        raise
    print(f"\n{found} of {len(questions)} found among the first {AMONG} ({NEEDED} are needed).")
    if options.keep:
        print(f"The node goes on: export AIMEM_URL={node.url}")
        print('Ask it: dist/aimem query "how do I pause a program?"; store: dist/aimem push --title T --content C')
        print(f"End it: kill {node.process.pid}; its files are in {node.folder}")
    else:
        node.stop()
        print("The node was ended. To go on by hand: scripts/up --keep, or dist/aimem serve; see dist/aimem --help.")
    return 0 if found >= NEEDED else 1


if __name__ == "__main__":
    sys.exit(main())
