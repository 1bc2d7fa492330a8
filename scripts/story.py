"""The story that `scripts/up` tells, with nothing but the built command: mint three nodes, store real text through one
with W=2, lose a node, go on, ask another, see the lost one return, prove that all hold the same, refuse a stranger.

With `--store postgres` the three speak for one shared store, a PostgreSQL with pgvector that is started for this and
ended with it: its binaries are those that the tests use, in the environment that is made from the lock.

Ends with 1 when fewer than NEEDED of the questions find their answer among the first five, or when a part of the story
does not come true. Whatever it started it ends, unless `--keep` is given.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
AIMEM = ROOT / "dist" / "aimem"
NEEDED = 7
AMONG = 5
NAMES = ("one", "two", "three")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command; what it printed and said."""
    return subprocess.run([sys.executable, AIMEM, *arguments], capture_output=True, text=True)


def aimem(*arguments: str) -> str:
    """Run a command that must end well. What it printed."""
    done = run(*arguments)
    if done.returncode:
        raise SystemExit(f"aimem {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now. All are held until the last is known, so they differ."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


class Node:
    """One of the fleet, with its configuration and certificate in a folder of its own."""

    def __init__(self, fleet: Fleet, name: str, port: int) -> None:
        self.name = name
        self.url = f"https://127.0.0.1:{port}"
        self.folder = fleet.folder / "fleet" / name
        self.config = self.folder / "aimem.toml"
        self.place: list[str | Path] = ["--db", self.folder / "aimem.db"]
        if fleet.store_url is not None:
            self.place = []  # the URL carries a password, so it stands in the file
            self.config.write_text(f"store_url = {json.dumps(fleet.store_url)}\n{self.config.read_text()}")
        self.start()

    def start(self) -> None:
        self.log = (self.folder / "node.log").open("a")
        command = [sys.executable, AIMEM, "serve", "--config", self.config, *self.place]
        self.process = subprocess.Popen(command, stderr=self.log, stdin=subprocess.DEVNULL, start_new_session=True)

    def call(self, *arguments: str) -> str:
        """Run a command against this node."""
        return aimem(*arguments, "--config", str(self.config))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(40)


class Fleet:
    """Three nodes on loopback that know each other by certificates minted a moment ago. `store_url`: the store that all
    of them speak for; else each has a file."""

    def __init__(self, store_url: str | None = None) -> None:
        self.store_url = store_url
        self.folder = Path(tempfile.mkdtemp(prefix="aimem-up-"))
        self.nodes: list[Node] = []
        ports = free_ports(len(NAMES))
        named = [f"{name}=127.0.0.1:{port}" for name, port in zip(NAMES, ports, strict=True)]
        out = str(self.folder / "fleet")
        print(aimem("allowlist", "mint", "--out", out, "--config-dir", f"{out}/{{node}}", *named), end="")
        self.nodes = [Node(self, name, port) for name, port in zip(NAMES, ports, strict=True)]
        for node in self.nodes:
            node.call("status", "--wait-ready", "60")
        self.nodes[0].call("fleet", "--from", self.nodes[0].url, "--wait", "60")

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()
        shutil.rmtree(self.folder)

    def prove(self) -> None:
        """All nodes hold the same, by their digests."""
        began = time.monotonic()
        self.nodes[0].call("fleet", "--from", self.nodes[0].url, "--wait", "120")
        print(f"   aimem fleet: {len(self.nodes)} nodes hold the same, after {time.monotonic() - began:.1f} s.")


def texts_of(folder: Path, limit: str) -> tuple[Path, Path, int]:
    """The documentation strings of this Python's standard library as JSON lines, cut in two: the files, the count."""
    made = subprocess.run(
        [sys.executable, ROOT / "scripts" / "stdlib-texts", "--limit", limit], stdout=subprocess.PIPE, check=True
    )
    lines = made.stdout.splitlines(keepends=True)
    parts = folder / "first.jsonl", folder / "rest.jsonl"
    middle = len(lines) * 9 // 10
    for path, part in zip(parts, (lines[:middle], lines[middle:]), strict=True):
        path.write_bytes(b"".join(part))
    return *parts, len(lines)


def store(node: Node, path: Path, *, shared: bool) -> None:
    began = time.monotonic()
    told = json.loads(node.call("push", "--jsonl", str(path), "--json"))
    took = time.monotonic() - began
    held = "read by two nodes in the one store" if shared else "on two disks"
    print(f"   {told['stored']} stored through {node.name}, each {held} when it was acknowledged: {took:.1f} s.")


def ask(node: Node, question: str, modules: list[str]) -> bool:
    """Ask one question; print the best answers. True when a module that is expected is among them."""
    began = time.monotonic()
    reply: dict[str, Any] = json.loads(node.call("query", "--limit", str(AMONG), "--json", question))
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


def refuse_a_stranger(fleet: Fleet) -> None:
    """A certificate of another CA, and the alert that it gets."""
    other = fleet.folder / "stranger"
    aimem("allowlist", "mint", "--out", str(other), "stranger=127.0.0.1")
    files = ("--client-cert", f"{other}/stranger/tls.crt", "--client-key", f"{other}/stranger/tls.key")
    ca = str(fleet.folder / "fleet" / "ca.crt")
    done = run("stats", "--config", "", "--to", fleet.nodes[0].url, "--ca-cert", ca, *files)
    if done.returncode == 0:
        raise SystemExit("a stranger was let in")
    print(f"   {done.stderr.splitlines()[0].replace(str(fleet.folder), '...')}")


def tell(fleet: Fleet, limit: str) -> tuple[int, int]:
    """The story. How many questions found their answer, and how many there were."""
    one, two, three = fleet.nodes
    shared = fleet.store_url is not None
    first, rest, count = texts_of(fleet.folder, limit)
    print(f"\n1. {count} documentation strings of Python's standard library, one namespace per module; W=2 of N=3.")
    store(one, first, shared=shared)
    print("2. Node three is killed. Two are left, and two are enough.")
    three.kill()
    store(one, rest, shared=shared)
    print("3. Vectors for their meaning are made behind the writes, once for the whole fleet.")
    began = time.monotonic()
    two.call("status", "--wait-embedded", "3600", "--json")
    print(f"   Node two has them all: {time.monotonic() - began:.1f} s.")
    questions = json.loads((ROOT / "scripts" / "questions.json").read_text())
    print(f"4. {len(questions)} questions in plain English, asked of node two, that share few words with their answers")
    print("   (* expected):")
    found = sum(ask(two, each["question"], each["modules"]) for each in questions)
    print(f"\n5. Node three comes back, and {'finds' if shared else 'fetches'} what it missed.")
    three.start()
    three.call("status", "--wait-ready", "60")
    fleet.prove()
    print("6. A stranger with a certificate of its own:")
    refuse_a_stranger(fleet)
    return found, len(questions)


def _postgres(ended: ExitStack) -> str:
    """A database on a server that ends with the story: its URL."""
    sys.path.insert(0, str(ROOT))
    from tests.postgres_server import running_postgres

    print("Starting a PostgreSQL with pgvector.")
    server = ended.enter_context(running_postgres())
    return server.url(server.new_database(), role="aimem")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/up", description="Show a small fleet at work on real text.")
    parser.add_argument("--keep", action="store_true", help="leave the nodes running")
    parser.add_argument("--limit", default="1000000", metavar="N", help="store only so many texts")
    parser.add_argument("--store", choices=("files", "postgres"), default="files", help="where the nodes keep it")
    options = parser.parse_args()
    if options.keep and options.store == "postgres":
        parser.error("--keep does not go with --store postgres: that server ends with the story")
    for name in ("AIMEM_CONFIG", "AIMEM_URL", "AIMEM_DB", "AI_MEMORY_DB"):
        os.environ.pop(name, None)  # a caller's own node has no part in this
    with ExitStack() as ended:
        fleet = Fleet(_postgres(ended) if options.store == "postgres" else None)
        if not options.keep:
            ended.callback(fleet.stop)
        try:
            print(f"Three nodes that let each other in by certificate; their files are in {fleet.folder}.")
            found, asked = tell(fleet, options.limit)
        except BaseException:
            if options.keep:
                fleet.stop()
            raise
    print(f"\n{found} of {asked} found among the first {AMONG} ({NEEDED} are needed).")
    if options.keep:
        config = fleet.nodes[0].config
        print(f"The nodes go on: export AIMEM_CONFIG={config}")
        print('Ask: dist/aimem query "how do I pause a program?"; store: dist/aimem push --title T --content C')
        print(f"End them: kill {' '.join(str(node.process.pid) for node in fleet.nodes)}; files: {fleet.folder}")
    else:
        print("The nodes were ended. To go on by hand: scripts/up --keep, or dist/aimem serve; see dist/aimem --help.")
    return 0 if found >= NEEDED else 1


if __name__ == "__main__":
    sys.exit(main())
