"""SIGKILL under load, again and again: after each restart the node holds what it acknowledged, and nothing else."""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

from benchlib import prepared
from benchlib.node import Node

from soaklib import looking
from soaklib.clients import Client, Load, Mix
from soaklib.ledger import Ledger
from soaklib.report import Phase
from soaklib.watching import sample

CLIENTS = 16
FULL_CHECK_EVERY = 5  # kills: comparing all that derives from the records takes as long as ten kills
_MIX = Mix(change=60, brief=0, recall=25)
_RUN_SECS = 0.5, 3.0


def run(options: argparse.Namespace, phase: Phase, folder: Path) -> None:
    chance, ledger = random.Random(options.seed), Ledger()
    flags = ("--tier", "keyword", "--config", "")
    node = Node(*flags, folder=folder, copy_of=prepared.store(options.rows, "keyword"), program=(str(options.aimem),))
    phase.counts.update(kills=0, met_a_request=0, acknowledged=0, full_checks=0)
    node.start()
    with node.running():
        ledger.begin(looking.held(node).contents)
        for number in range(1, options.kills + 1):
            load = Load(
                [
                    Client(f"client-{each}", node.port, ledger, f"{options.seed} {number}", _MIX, time.time_ns)
                    for each in range(CLIENTS)
                ]
            )
            time.sleep(chance.uniform(*_RUN_SECS))
            before = sample(node, load, number)
            node.kill()
            phase.blame(load.join())
            phase.counts["kills"] += 1
            phase.counts["met_a_request"] += any(client.cut for client in load.clients)
            phase.counts["acknowledged"] = ledger.acknowledged
            if number % FULL_CHECK_EVERY == 0 or number == options.kills:
                phase.blame(looking.file_itself(node.program, node.database, *flags))
                phase.counts["full_checks"] += 1
            took = node.start()
            phase.blame(looking.compared(node, ledger, time.time_ns))
            phase.note(f"kill {number}", before, f"; back in {took:.2f} s")
    if phase.counts["met_a_request"] * 2 < options.kills:
        phase.blame(["most kills met no request in flight: they prove nothing"])
