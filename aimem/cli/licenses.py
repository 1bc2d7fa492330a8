"""`aimem licenses`: the licences of everything that the program carries."""

from __future__ import annotations

import sys

import click

from aimem.cli.options import Command


@click.command("licenses", cls=Command, examples="aimem licenses | less")
def command() -> None:
    """Print the licences of everything that the program carries."""
    from aimem.unpack import licenses

    sys.stdout.write(licenses())
