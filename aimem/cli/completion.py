"""`aimem completion`: the completion script of a shell, out of the program itself."""

from __future__ import annotations

import sys

import click

from aimem.cli.options import Command


@click.command(
    "completion",
    cls=Command,
    examples="""
aimem completion bash > /usr/share/bash-completion/completions/aimem
aimem completion zsh > /usr/share/zsh/site-functions/_aimem
aimem completion fish > /usr/share/fish/vendor_completions.d/aimem.fish
""",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of a shell."""
    from aimem.cli.completion_scripts import script

    sys.stdout.write(script(shell))
