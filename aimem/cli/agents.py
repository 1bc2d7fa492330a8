"""`aimem agents`: who takes part."""

from __future__ import annotations

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import Group, node_command, node_options, split_tags
from aimem.errors import Usage
from aimem.net.client import path_of


@click.group(
    "agents",
    cls=Group,
    params=node_options(),
    examples="""
aimem agents register ai:planner --agent-type ai:generic --capabilities plan,store
aimem agents register skill/translate --agent-type ai:skill.translate --rack rack-a
aimem agents list --skills
""",
)
def command() -> None:
    """List agents, and register them.

    Policies ask for registered agents, and several of them agree about what waits for leave. A skill is an agent whose
    type is `ai:skill.NAME`.
    """


@node_command("list")
@click.option("--skills", is_flag=True, help="Only skills.")
@click.option("--rack", metavar="NAME", help="Only those of this rack.")
def list_(invocation: Invocation, skills: bool, rack: str | None) -> None:
    """List agents by id.

    In a pipe each line is ID, type, capabilities, rack, time of registration and when it was last seen, with tabs.
    """
    reply = invocation.read(path_of("agents"), {"skills": "true" if skills else None, "rack": rack})
    if invocation.json:
        output.print_json(reply)
        return
    if not reply["agents"]:
        output.say("no agents")
    header = ("ID", "TYPE", "CAPABILITIES", "RACK", "REGISTERED", "SEEN")
    rows = [
        [
            each["agent_id"],
            each["agent_type"],
            ",".join(each["capabilities"]) or "-",
            each.get("rack") or "-",
            each["registered_at"],
            each["last_seen_at"],
        ]
        for each in reply["agents"]
    ]
    output.print_rows(header, rows, stretch=2)


@node_command("register", changes=True)
@click.argument("agent", required=False)
@click.option("--agent-type", metavar="TYPE", required=True, help="human, system or ai:NAME.")
@click.option("--capabilities", metavar="WORD,...", help="What it can do, separated by commas.")
@click.option("--rack", metavar="NAME", help="Where it runs.")
def register(
    invocation: Invocation, agent: str | None, agent_type: str, capabilities: str | None, rack: str | None
) -> None:
    """Register an agent (the caller, when none is named), or say anew what it is."""
    agent = agent or invocation.identity.get("X-Agent-Id")
    if agent is None:
        raise Usage("name the agent to register")
    body = {"agent_id": agent, "agent_type": agent_type, "capabilities": split_tags(capabilities), "rack": rack}
    reply = invocation.change("POST", path_of("agents"), {name: each for name, each in body.items() if each})
    if invocation.json:
        output.print_json(reply)
    elif reply.get("registered"):
        print(f"registered: {output.one_line(agent)} [{agent_type}]")


for each in (list_, register):
    command.add_command(each)
