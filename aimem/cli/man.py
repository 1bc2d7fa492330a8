"""`aimem man`: the manual pages, out of the program itself."""

from __future__ import annotations

import sys

import click

from aimem.cli import output
from aimem.cli.options import Command


@click.command("man", cls=Command, examples="aimem man push\naimem man aimem-api\naimem man --list")
@click.argument("page", required=False)
@click.option("--list", "as_list", is_flag=True, help="Print the names of all pages.")
def command(page: str | None, as_list: bool) -> None:
    """Print a manual page.

    PAGE is a command (`push`), or a page of section 7 (`api`, `aimem-recall`, `aimem.7`); without it the page of the
    program. On a terminal it is shown by man(1) where there is one; else its source is printed, for `man -l -`.
    """
    from aimem.cli.manual import page_names, page_source

    if as_list:
        print("\n".join(page_names()))
        return
    source = page_source(page or "aimem")
    if not (output.is_tty(sys.stdout) and _shown(source)):
        sys.stdout.write(source)


def _shown(source: str) -> bool:
    """Show the page with man(1); False when there is none."""
    import shutil
    import subprocess

    if shutil.which("man") is None:
        return False
    return subprocess.run(["man", "-l", "-"], input=source.encode(), check=False).returncode == 0
