"""A day in the life, as `scripts/day` tells it: a policy is set in rack A, a write is parked in rack B, the node where
it waits is killed between the approvals, and all comes out once: one row on every node, one event at the subscriber,
equal digests. Nothing but the command and a receiver of webhooks; ends with 1 when a part does not come true.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NODES = {"a1": "A", "a2": "A", "b1": "B", "b2": "B", "b3": "B"}
APPROVERS = ("ai:ann", "ai:ben", "ai:cem")
NAMESPACE = "finance/budget"
ALL_DAY = 120.0  # seconds: each step takes a few


class Wrong(SystemExit):
    """A part of the story did not come true."""


def until(what: str, true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + ALL_DAY
    while not true():
        if time.monotonic() > end:
            raise Wrong(f"not so after {ALL_DAY:g} s: {what}")
        time.sleep(0.2)


class Fleet:
    """Five nodes in two racks, with certificates minted a moment ago. `program` is the command line of aimem."""

    def __init__(self, program: list[str], tier: str) -> None:
        self.program = program
        self.tier = tier
        self.folder = Path(tempfile.mkdtemp(prefix="aimem-day-"))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        held = [socket.create_server(("127.0.0.1", 0)) for _ in NODES]
        self.urls = {name: f"https://127.0.0.1:{each.getsockname()[1]}" for name, each in zip(NODES, held, strict=True)}
        lines = [
            f'[[node]]\nname = "{name}"\nrack = "{rack}"\naddress = "{self.urls[name].removeprefix("https://")}"\n'
            for name, rack in NODES.items()
        ]
        inventory = self.folder / "racks.toml"
        inventory.write_text("\n".join(lines))
        out = str(self.folder / "fleet")
        self.run("allowlist", "mint", "--out", out, "--config-dir", f"{out}/{{node}}", "--inventory", str(inventory))
        for each in held:
            each.close()

    def run(self, *arguments: str) -> str:
        """Run a command that must end well. What it printed."""
        done = subprocess.run([*self.program, *arguments], capture_output=True, text=True, cwd=ROOT)
        if done.returncode:
            raise Wrong(f"aimem {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}")
        return done.stdout

    def config(self, name: str) -> str:
        """The configuration of a node."""
        return str(self.folder / "fleet" / name / "aimem.toml")

    def on(self, name: str, *arguments: str, agent: str = "ai:operator") -> Any:
        """Run a command against a node, as an agent: its JSON."""
        who = ("--config", self.config(name), "--agent-id", agent)
        print(f"   {name}$ aimem {shlex.join(arguments)}" + ("" if agent == "ai:operator" else f"   # {agent}"))
        return self.ask(name, *arguments, *who)

    def ask(self, name: str, *arguments: str) -> Any:
        """The same, and not shown."""
        return json.loads(self.run(*arguments, "--json", "--config", self.config(name)))

    def start(self, name: str) -> None:
        """Start a node on what it holds."""
        home = self.folder / "fleet" / name
        command = [*self.program, "serve", "--tier", self.tier, "--config", str(home / "aimem.toml")]
        with (home / "node.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*command, "--db", str(home / "aimem.db")], stderr=log, stdin=subprocess.DEVNULL, cwd=ROOT
            )

    def kill(self, name: str) -> None:
        """End a node as a power cut does."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> None:
        """End all that runs, and take the files away."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            process.wait(60)
        shutil.rmtree(self.folder)


class Receiver:
    """Who subscribed: a server that keeps what it is told."""

    def __init__(self) -> None:
        told: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.told = told
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def events(self, name: str) -> dict[str, dict[str, Any]]:
        """What it was told under this name: by event, for one may come twice."""
        return {each["event_id"]: each for each in list(self.told) if each["event"] == name}


def tell(fleet: Fleet, receiver: Receiver) -> None:
    """The story."""
    for name in NODES:
        fleet.start(name)
    for name in NODES:
        fleet.run("status", "--wait-ready", "60", "--config", fleet.config(name))
    fleet.run("fleet", "--from", fleet.urls["a1"], "--wait", "60", "--config", fleet.config("a1"))
    print("\n1. In rack A: somebody subscribes, three approvers are registered, and from then on nothing is written to")
    print("   finance without two of them.")
    fleet.on("a2", "subscriptions", "add", receiver.url, "-n", NAMESPACE)
    for agent in APPROVERS:
        fleet.on("a1", "agents", "register", "--agent-type", "system", agent=agent)
    fleet.on("a1", "policy", "set", "finance", "--write", "approve", "--approver", "consensus:2")
    until("the policy is on b1", lambda: fleet.ask("b1", "policy", "explain", NAMESPACE)["in_force"] is not None)

    print("2. In rack B: an agent stores a memory there. It is parked.")
    text = ("--title", "Budget", "--content", "The new rack costs 81,000.", "-n", NAMESPACE)
    parked = fleet.on("b1", "push", *text, agent="ai:planner")["pending_id"]
    until("the approvers hear of it", lambda: bool(receiver.events("approval_requested")))
    until("it waits on a2", lambda: parked in _ids(fleet.ask("a2", "pending", "list")["pending"]))

    print("3. One approves, on a2. Then b1, where it was parked, loses power. Another approves, on b2.")
    fleet.on("a2", "pending", "approve", parked, agent="ai:ann")
    until("her vote is on b2", lambda: len(_action(fleet, "b2", parked)["approvals"]) == 1)
    fleet.kill("b1")
    fleet.on("b2", "pending", "approve", parked, agent="ai:ben")
    until("it is decided", lambda: _action(fleet, "a1", parked)["status"] == "approved")

    print("4. b1 comes back. Every node has the row, once.")
    fleet.start("b1")
    fleet.run("status", "--wait-ready", "60", "--config", fleet.config("b1"))
    for name in NODES:
        until(f"the row is on {name}", lambda name=name: len(_rows(fleet, name)) == 1)  # type: ignore[misc]
    rows = [_rows(fleet, name)[0] for name in NODES]
    if len({(row["id"], row["version"]) for row in rows}) != 1:
        raise Wrong("the nodes have different rows")
    print(f"   {rows[0]['id']}: {rows[0]['title']} ({rows[0]['content']})")

    print("5. Who subscribed was told of it, by whichever node was there to do so.")
    until("it was told", lambda: bool(receiver.events("memory_store")))
    (event,) = receiver.events("memory_store").values()
    if (event["memory_id"], event["version"]) != (rows[0]["id"], rows[0]["version"]):
        raise Wrong(f"what was told is not what was stored: {event}")
    print(f"   {event['event']} {event['memory_id']} in {event['namespace']}, asked for by {event['agent_id']}")

    print("6. All nodes hold the same.")
    print(f"   $ aimem fleet --from {fleet.urls['a1']} --wait 60")
    print(fleet.run("fleet", "--from", fleet.urls["a1"], "--wait", "60", "--config", fleet.config("a1")), end="")


def _ids(shown: list[dict[str, Any]]) -> list[str]:
    return [each["id"] for each in shown]


def _action(fleet: Fleet, name: str, parked: str) -> dict[str, Any]:
    for status in ("pending", "approved"):
        for each in fleet.ask(name, "pending", "list", "--status", status)["pending"]:
            if each["id"] == parked:
                found: dict[str, Any] = each
                return found
    raise Wrong(f"{name} does not know of {parked}")


def _rows(fleet: Fleet, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = fleet.ask(name, "query", "--list", "-n", NAMESPACE)["memories"]
    return found


def main() -> int:
    """Tell it."""
    parser = argparse.ArgumentParser(prog="scripts/day", description="Show a fleet decide, lose a node, and agree.")
    built = shlex.join([sys.executable, str(ROOT / "dist" / "aimem")])
    parser.add_argument("--program", default=built, metavar="COMMAND", help="the command line of aimem")
    parser.add_argument("--tier", default="keyword", help="of the nodes")
    options = parser.parse_args()
    for name in ("AIMEM_CONFIG", "AIMEM_URL", "AIMEM_DB", "AI_MEMORY_DB", "AI_MEMORY_AGENT_ID"):
        os.environ.pop(name, None)  # a caller's own node has no part in this
    fleet, receiver = Fleet(shlex.split(options.program), options.tier), Receiver()
    try:
        print(f"Five nodes in racks A and B, W=3; their files are in {fleet.folder}.")
        tell(fleet, receiver)
    finally:
        fleet.stop()
        receiver.server.shutdown()
    print("\nA policy from rack A, a write from rack B, two of three votes, one power cut: one row everywhere.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
