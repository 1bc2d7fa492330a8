"""`aimem namespaces`: the namespaces in use."""

from __future__ import annotations

import sys

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import node_command
from aimem.net.client import path_of


@node_command("namespaces", examples="aimem namespaces --to http://rack-a-1:9077")
def command(invocation: Invocation) -> None:
    """List the namespaces and how many memories each has.

    The largest comes first. In a pipe each line is NAMESPACE, a tab, and the count.
    """
    reply = invocation.read(path_of("namespaces"))
    found = [(row["namespace"], row["count"]) for row in reply["namespaces"]]
    if invocation.json:
        output.print_json(reply)
    elif not found:
        output.say("no namespaces")
    elif output.is_tty(sys.stdout):
        print("\n".join(output.table(["NAMESPACE", "MEMORIES"], found, stretch=0)))
    else:
        for row in found:
            output.print_line(*row)
