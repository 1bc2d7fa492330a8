"""`aimem namespaces`: the namespaces in use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import node_command
from aimem.errors import Usage
from aimem.net.client import path_of


@node_command(
    "namespaces",
    examples="""
aimem namespaces --to http://rack-a-1:9077
aimem namespaces --tree --prefix ops --depth 2
""",
)
@click.option("--tree", is_flag=True, help="As a tree, with sums.")
@click.option("--prefix", metavar="NS", help="Only NS and what is below it.")
@click.option("--depth", type=click.IntRange(0, 8), metavar="N", help="So many levels at most. [8]")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="The N largest namespaces. [1000]")
def command(invocation: Invocation, tree: bool, **asked: Any) -> None:
    """List the namespaces and how many memories each has.

    The largest comes first. In a pipe each line is NAMESPACE, a tab, and the count. With --tree they stand in the order
    of their names, and each line has a second count, of all that is in and below the namespace.
    """
    if tree:
        _print_tree(invocation, invocation.read(path_of("taxonomy"), asked))
        return
    for name, value in asked.items():
        if value is not None:
            raise Usage(f"--{name} goes with --tree")
    reply = invocation.read(path_of("namespaces"))
    found = [(row["namespace"], row["count"]) for row in reply["namespaces"]]
    if invocation.json:
        output.print_json(reply)
    else:
        _print(["NAMESPACE", "MEMORIES"], found, found)


def _print_tree(invocation: Invocation, reply: dict[str, Any]) -> None:
    if invocation.json:
        output.print_json(reply)
        return
    top = reply["tree"]
    nodes = list(_walk(top)) if top["namespace"] else [each for child in top["children"] for each in _walk(child)]
    if not reply["total_count"]:
        nodes = []
    indented = [(f"{'  ' * level}{node['name']}", node["count"], node["subtree_count"]) for level, node in nodes]
    whole = [(node["namespace"], node["count"], node["subtree_count"]) for _, node in nodes]
    _print(["NAMESPACE", "MEMORIES", "WITH BELOW"], indented, whole)
    if reply["truncated"]:
        output.say("there are more: --limit says how many are shown")


def _walk(node: dict[str, Any], level: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    yield level, node
    for child in node["children"]:
        yield from _walk(child, level + 1)


def _print(header: list[str], shown: list[tuple[Any, ...]], plain: list[tuple[Any, ...]]) -> None:
    if not plain:
        output.say("no namespaces")
    elif output.is_tty(sys.stdout):
        print("\n".join(output.table(header, shown, stretch=0)))
    else:
        for row in plain:
            output.print_line(*row)
