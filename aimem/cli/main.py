"""The program's entry: the group, its commands loaded when used, and the one place where errors become exit codes.

What always holds: stdout carries data only; a message says what is wrong and where, then what to do; the exit code
is that of the error (see `EXIT_CODES`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from keyword import iskeyword
from typing import Final

import click

from aimem import __version__
from aimem.cli import options, output
from aimem.cli.invocation import OLD_NAME, Invocation
from aimem.errors import AimemError

# In the order of the manual. The short help stands here so that `aimem --help` imports no command; a test compares.
COMMANDS: Final[dict[str, str]] = {
    "serve": "Run a node.",
    "push": "Put memories in: one, JSON lines, or documents.",
    "query": "Find memories by meaning, by words, or as a list.",
    "get": "Show one memory.",
    "update": "Change a memory.",
    "delete": "Delete a memory.",
    "promote": "Keep a memory for good.",
    "link": "Link two memories, or list, end and remove links.",
    "graph": "Follow the links of memories.",
    "forget": "Forget all memories that fit.",
    "archive": "Look into the archive, and move memories in and out of it.",
    "namespaces": "List the namespaces and how many memories each has.",
    "stats": "Count what is stored.",
    "status": "Tell how the node is, and wait until it is ready.",
    "watch": "Print changes as they come.",
    "fleet": "Compare many nodes.",
    "quarantine": "Look at rows that were kept aside, and decide about them.",
    "policy": "Say who may write, promote and delete in a namespace.",
    "pending": "Look at actions that wait for leave, and decide about them.",
    "agents": "List agents, and register them.",
    "notify": "Send a message to an agent.",
    "inbox": "Read the messages to an agent.",
    "subscriptions": "Say who is told of which events, and where.",
    "mcp": "Give an agent its memory over the Model Context Protocol.",
    "allowlist": "Say which certificates are let in, and make those of a new fleet.",
    "gc": "End what has expired, now.",
    "export": "Print everything that is stored.",
    "import": "Put in the rows of an export.",
    "migrate": "Fill a database from others: ours, or those of the old program.",
    "store": "Look after the Postgres that nodes share.",
    "backup": "Make a backup of a database, beside a running node.",
    "restore": "Make a database out of a backup.",
    "units": "Print systemd units, or write them to a folder.",
    "man": "Print a manual page.",
    "completion": "Print the completion script of a shell.",
    "licenses": "Print the licences of everything that the program carries.",
}

_STORE_COMMANDS: Final = ("check", "tune", "maintain", "partition")


def _is_old_store(args: list[str]) -> bool:
    """Whether `store` is meant as the old program has it, which is our `push`: what follows is none of ours."""
    ours = (*_STORE_COMMANDS, "--help", "--store-url", "--config", "--cache-dir")
    return args[0] == "store" and len(args) > 1 and args[1].partition("=")[0] not in ours


EXIT_CODES: Final[dict[int, str]] = {
    0: "Done; also when nothing was found, and when a change waits for approval (said on stderr).",
    1: "Failure: a damaged or read-only file, or some rows of a batch failed.",
    2: "Usage: a malformed flag or value.",
    3: "The memory that was named does not exist.",
    4: "Conflict with what is stored.",
    5: "Denied by policy or identity.",
    6: "Quorum not met. Run again with the idempotency key that was printed.",
    7: "The node can't be reached, or did not answer.",
    8: "A check failed.",
    75: "Try again: database or maintenance locked, disk full, node busy.",
    78: "Configuration: flags that do not fit together, a foreign or newer database, a missing library.",
    130: "Interrupted.",
}


class Program(click.Group):
    """The group; a command's module is imported when the command is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the manual."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name: `command` in the module of the same name, for a keyword with `_` behind it."""
        if cmd_name not in COMMANDS:
            return None
        module = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command: click.Command = import_module(f"aimem.cli.{module}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Like click's, but a command of the old program is answered with the line to use instead."""
        if args and (args[0] not in COMMANDS or _is_old_store(args)):
            from aimem.cli.old_names import line_to_use

            line = line_to_use(args)
            if line and args[0] == "store" and not args[1].startswith("-"):
                *others, last = _STORE_COMMANDS
                takes = f"it takes {', '.join(others)} and {last}. What the old program calls `store` is\n  {line}"
                raise click.UsageError(f"`aimem store` knows no {args[1]!r}: {takes}", ctx)
            if line:
                raise click.UsageError(f"`{args[0]}` is a command of the old program. Use:\n  {line}", ctx)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options by section, then the commands."""
        options.write_options(self, ctx, formatter)
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def program() -> Program:
    """The whole click tree."""
    return Program(
        "aimem",
        help="One durable memory for AI agents, from one file.",
        params=[
            *options.node_options(),
            click.Option(
                ["--version"], is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Version."
            ),
        ],
        no_args_is_help=True,
        subcommand_metavar="COMMAND ...",
        context_settings={"help_option_names": ["--help"], "max_content_width": 100},
    )


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        print(f"aimem {__version__}")
        ctx.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; what it says is printed."""
    name = OLD_NAME if os.path.basename(sys.argv[0]) == OLD_NAME else "aimem"
    invocation = Invocation(program=name)
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv), invocation)
        sys.stdout.flush()
        return code
    except BaseException as err:
        return _told(err)
    finally:
        invocation.close()


def _run(args: list[str], invocation: Invocation) -> int:
    """Parse and run, without `Group.main`: that turns a broken pipe and an interrupt into codes of its own."""
    group = program()
    try:
        with group.make_context(invocation.program, args, obj=invocation) as ctx:
            code = group.invoke(ctx)
    except click.exceptions.Exit as end:
        return end.exit_code
    return code if isinstance(code, int) else 0


def _told(err: BaseException) -> int:
    """Tell of an error and return its exit code. What is none of ours goes on as it is: it is a bug."""
    if isinstance(err, BrokenPipeError):
        # The reader has gone. Python flushes stdout at exit, and must not fail there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    if isinstance(err, KeyboardInterrupt | click.Abort):
        output.say("aimem: interrupted")
        return 130
    if isinstance(err, click.exceptions.NoArgsIsHelpError):
        output.say(err.format_message())
        return 2
    if isinstance(err, click.UsageError):
        command = err.ctx.command_path if err.ctx else "aimem"
        output.say(f"aimem: {err.format_message()}\nhint: `{command} --help` tells what it takes")
        return 2
    if isinstance(err, AimemError):
        output.say(f"aimem: {err.message}" + (f"\nhint: {err.hint}" if err.hint else ""))
        return err.exit_code
    if isinstance(err, OSError) and err.strerror:
        output.say(f"aimem: {err.strerror}" + (f": {err.filename}" if err.filename else ""))
        return 1
    raise err
