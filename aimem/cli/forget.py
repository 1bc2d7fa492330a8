"""`aimem forget`: retire all memories that fit."""

from __future__ import annotations

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import TIER, node_command
from aimem.errors import Usage
from aimem.net.client import path_of


@node_command(
    "forget",
    changes=True,
    examples="aimem forget --namespace scratch --tier short\naimem forget --pattern 'staging cluster' --confirm-global",
)
@click.option("-n", "--namespace", metavar="NS", help="Those in this namespace.")
@click.option("-p", "--pattern", metavar="WORDS", help="Those that hold any of these words.")
@click.option("-t", "--tier", type=TIER, help="Those of this tier.")
@click.option("--confirm-global", is_flag=True, help="Without --namespace: yes, in all of them.")
def command(
    invocation: Invocation, namespace: str | None, pattern: str | None, tier: str | None, confirm_global: bool
) -> None:
    """Forget all memories that fit.

    All that is given must hold. They go to the archive, from where `aimem archive restore` takes them back; a node that
    is told to keep no archive deletes them.
    """
    which = {"namespace": namespace, "pattern": pattern, "tier": tier}
    given = {name: value for name, value in which.items() if value}
    if not given:
        raise Usage("nothing says what to forget", hint="give --namespace, --pattern or --tier")
    if namespace is None and not confirm_global:
        raise Usage("this would forget in every namespace", hint="name one with --namespace, or add --confirm-global")
    reply = invocation.change("POST", path_of("forget"), given)
    if invocation.json:
        output.print_json(reply)
    elif "deleted" in reply:
        print(f"forgot {reply['deleted']} memories")
