"""Options that several commands share, and the command class that shows them in sections.

The common ones (`--to`, `--db`, `--json`, ...) may stand before or after the subcommand: both put them into
`Invocation.flags`, the later one wins. What always holds: an option that a command does not list, it does not take.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from aimem.cli.invocation import Invocation

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

pass_invocation = click.make_pass_decorator(Invocation)

TIER: Final = click.Choice(["short", "mid", "long"])
SCOPE: Final = click.Choice(["private", "team", "unit", "org", "collective"])
FILE: Final = click.Path(dir_okay=False)
DIRECTORY: Final = click.Path(file_okay=False)
NODE: Final = "Node options"  # heading of those that say which node, and who asks


class Shared(click.Option):
    """An option of the program, kept for whoever asks `Invocation`; shown under the heading `section`."""

    def __init__(self, *names: str, section: str = NODE, **settings: Any) -> None:
        super().__init__(list(names), expose_value=False, callback=_remember, default=None, **settings)
        self.section = section


def not_empty(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Callback of an option whose empty value, of a variable that is not set, would stand for another place."""
    if value == "" or (isinstance(value, tuple) and "" in value):
        raise click.BadParameter("it is empty: give a value, or leave the option out", ctx, param)
    return value


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if param.name != "config":  # of which '' means none
        not_empty(ctx, param, value)
    if value not in (None, False) and param.name:
        ctx.ensure_object(Invocation).flags[param.name] = value


class Command(click.Command):
    """A subcommand: its own options first, the shared ones under their headings; examples at the end of its page."""

    def __init__(self, *args: Any, examples: str = "", **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of each section."""
        write_options(self, ctx, formatter)


class Group(click.Group):
    """A command whose first word is a command of its own; both have pages like any other."""

    def __init__(self, *args: Any, examples: str = "", **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.examples = examples

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which they were added."""
        return list(self.commands)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, then the options of each section."""
        self.format_commands(ctx, formatter)
        write_options(self, ctx, formatter)


def sections(command: click.Command, ctx: click.Context) -> dict[str, list[click.Option]]:
    """The options of a command under their headings; its own come first."""
    found: dict[str, list[click.Option]] = {"Options": []}
    for param in command.get_params(ctx):
        if isinstance(param, click.Option) and not param.hidden:
            found.setdefault(getattr(param, "section", "Options"), []).append(param)
    return found


def write_options(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """Write help for the options, section by section."""
    for title, params in sections(command, ctx).items():
        records = [record for param in params if (record := param.get_help_record(ctx))]
        if records:
            with formatter.section(title):
                formatter.write_dl(records)


# Each is made anew for every command: click changes its options when it binds them.


def config_option(section: str = NODE) -> Shared:
    """`--config`."""
    return Shared("--config", type=FILE, metavar="FILE", section=section, help="Configuration file; '' for none.")


def cache_dir_option(section: str = NODE) -> Shared:
    """`--cache-dir`."""
    text = "Where native parts and the model are unpacked. [AIMEM_CACHE_DIR]"
    return Shared("--cache-dir", type=DIRECTORY, metavar="DIR", section=section, help=text)


def db_option(text: str = "Work on this database file, which no node holds.", section: str = NODE) -> Shared:
    """`--db`."""
    return Shared("--db", type=FILE, metavar="FILE", section=section, help=text)


def with_store_url(command: Command) -> Command:
    """The command, which also takes `--store-url`."""
    text = "Work on this shared store, beside the nodes that serve it."
    command.params.append(Shared("--store-url", metavar="URL", help=text))
    return command


def json_option() -> Shared:
    """`--json`."""
    return Shared("--json", is_flag=True, help="Print the reply as JSON.")


def tls_options(section: str = NODE) -> list[Shared]:
    """How a node is judged, and what it is shown."""
    ca = "CA that signed the certificate of an https node."
    return [
        Shared("--ca-cert", type=FILE, metavar="FILE", section=section, help=ca),
        Shared("--client-cert", type=FILE, metavar="FILE", section=section, help="Certificate to show to the node."),
        Shared("--client-key", type=FILE, metavar="FILE", section=section, help="Its private key."),
        Shared("--pin", metavar="SHA256", section=section, help="Fingerprint of the one certificate that it may have."),
    ]


def node_options() -> list[Shared]:
    """What every command takes that talks to a node."""
    return [
        Shared("--to", metavar="URL", help="Address of the node. [AIMEM_URL; http://127.0.0.1:9077]"),
        db_option(),
        Shared("--agent-id", metavar="ID", help="Who is calling. [AI_MEMORY_AGENT_ID; host:NAME]"),
        json_option(),
        config_option(),
        cache_dir_option(),
        *tls_options(),
        Shared("--api-key-file", type=FILE, metavar="FILE", help="File with the key to show to the node."),
    ]


def node_command(name: str, *, changes: bool = False, **settings: Any) -> Callable[[Callable[..., Any]], Command]:
    """A subcommand that talks to a node; its function gets the `Invocation` first. `changes`: it may write."""

    def decorate(function: Callable[..., Any]) -> Command:
        command = click.command(name, cls=Command, **settings)(pass_invocation(function))
        if changes:
            command.params.append(
                Shared("--idempotency-key", metavar="KEY", section="Options", help="Repeat an earlier call safely.")
            )
        command.params += node_options()
        return command

    return decorate


def filters(function: Decorated) -> Decorated:
    """Which memories: namespace, tier, tag, time of creation, priority, author."""
    for option in reversed(
        (
            click.option("-n", "--namespace", metavar="NS", help="In this namespace."),
            click.option("-t", "--tier", type=TIER, help="Of this tier."),
            click.option("--tags", metavar="TAG", help="With this tag."),
            click.option("--since", metavar="TIME", help="Made at this time (RFC 3339) or later."),
            click.option("--until", metavar="TIME", help="Made at this time (RFC 3339) or earlier."),
            click.option("--min-priority", type=click.IntRange(1, 10), help="With this priority or a higher one."),
            click.option("--agent", metavar="ID", help="Written by this agent."),
            click.option("--as-agent", metavar="NS", help="Only what an agent whose place is this namespace may see."),
        )
    ):
        function = option(function)
    return function


def new_fields(function: Decorated) -> Decorated:
    """What a new memory may say beside title and content."""
    for option in reversed(
        (
            click.option("-n", "--namespace", metavar="NS", help="Namespace. [global]"),
            click.option("-t", "--tier", type=TIER, help="How long it lives: 6 hours, 7 days, for good. [mid]"),
            click.option("--tags", metavar="TAG,...", help="Tags, separated by commas."),
            click.option("-p", "--priority", type=click.IntRange(1, 10), help="Priority. [5]"),
            click.option("--confidence", type=click.FloatRange(0, 1), help="Confidence. [1.0]"),
            click.option("-S", "--source", metavar="WORD", help="Where it comes from. [cli]"),
            click.option("--expires-at", metavar="TIME", help="When it expires (RFC 3339)."),
            click.option("--ttl-secs", type=click.IntRange(1), metavar="SECONDS", help="Seconds until it expires."),
            click.option("--scope", type=SCOPE, help="Who may see it. [private]"),
        )
    ):
        function = option(function)
    return function


def split_tags(tags: str | None) -> list[str] | None:
    """`a, b` as a list; None stays None."""
    return None if tags is None else [tag.strip() for tag in tags.split(",") if tag.strip()]
