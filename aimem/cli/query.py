"""`aimem query`: find memories by meaning, by words, by id, or as a list."""

from __future__ import annotations

from typing import Any

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.memory_text import print_memories, print_memory
from aimem.cli.options import filters, node_command
from aimem.errors import Usage
from aimem.net.client import path_of

_RECALL_NAMES = {"agent": "agent_id"}  # flag -> field, where they differ


@node_command(
    "query",
    examples="""
aimem query "how do we rotate the TLS certificates?"
aimem query --words "certificate rotation" --namespace ops --json
aimem query --list --tier long --limit 50
aimem query "open incidents" --jsonl | jq -r .title
""",
)
@click.argument("text", required=False)
@click.option("--words", is_flag=True, help="Find by words: all of TEXT must occur.")
@click.option("--id", metavar="ID", help="Show the memory with this id.")
@click.option("--list", "as_list", is_flag=True, help="List memories, the highest priority and the newest first.")
@filters
@click.option("--limit", type=click.IntRange(0), metavar="N", help="At most so many. [10 by meaning, else 20]")
@click.option("--offset", type=click.IntRange(0), metavar="N", help="Leave out the first N; with --list.")
@click.option("--budget-tokens", type=click.IntRange(0), metavar="N", help="As many as fit in N tokens; by meaning.")
@click.option("--jsonl", is_flag=True, help="Print one memory a line, as JSON.")
def command(
    invocation: Invocation,
    text: str | None,
    words: bool,
    id: str | None,
    as_list: bool,
    jsonl: bool,
    **chosen: Any,
) -> None:
    """Find memories by meaning, by words, or as a list.

    TEXT is a question or a few words in plain language. A recall by meaning counts as a use: it extends the life of
    what it finds. Finding nothing is no error. On a terminal the answer is a table; in a pipe each line is ID, score,
    tier, namespace, title and the beginning of the content, with tabs between. --jsonl has the memories whole.
    """
    _check_form(text, words=words, id=id, as_list=as_list, chosen=chosen)
    asked = {_RECALL_NAMES.get(name, name): value for name, value in chosen.items() if value is not None}
    if id is not None:
        _show_one(invocation, id, jsonl=jsonl)
        return
    if as_list:
        reply = invocation.read(path_of("memories"), asked)
    elif words:
        reply = invocation.read(path_of("search"), {"q": text, **asked})
    else:
        reply = invocation.read(path_of("recall"), body={"context": text, **asked})
    found = reply["results"] if "results" in reply else reply["memories"]
    if invocation.json:
        output.print_json(reply)
    elif found:
        print_memories(found, json_lines=jsonl)
    else:
        output.say("no memories" if as_list else f"no results for: {text}")
    if reply.get("truncated"):
        output.say("the shared store had no time to look everywhere: better ones may be missing")


def _check_form(text: str | None, *, words: bool, id: str | None, as_list: bool, chosen: dict[str, Any]) -> None:
    """One form at a time, and no flag that the form would silently leave out."""
    if (text is not None) + (id is not None) + as_list != 1:
        raise Usage("give TEXT to look for, or --id, or --list", hint="aimem query 'what you want to know'")
    if words and text is None:
        raise Usage("--words looks for TEXT, which is missing")
    by_meaning = text is not None and not words
    idle = [name for name, fits in (("budget_tokens", by_meaning), ("offset", as_list)) if not fits]
    if id is not None:
        idle = list(chosen)
    for name in idle:
        if chosen[name] is not None:
            raise Usage(f"--{name.replace('_', '-')} has no effect in this form of query")


def _show_one(invocation: Invocation, id: str, *, jsonl: bool) -> None:
    reply = invocation.read(path_of("memories", id))
    memory = reply.get("memory", reply)
    if invocation.json:
        output.print_json(reply)
    elif jsonl:
        output.print_json_lines([memory])
    else:
        print_memory(memory, reply.get("links", ()))
