"""`aimem units`: print or write the systemd units. Their text is in `unit_files`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from aimem.cli.options import Command
from aimem.errors import Conflict


@click.command("units", cls=Command, examples="aimem units\naimem units --out /etc/systemd/system")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Write the files here.")
def command(out: Path | None) -> None:
    """Print systemd units, or write them to a folder.

    aimem.service is the node, aimem-backup.timer starts aimem-backup.service every hour, and aimem-migrate.service
    takes in the database of the old program, when it is started by hand with the node stopped. All run as a dynamic
    user without rights, with their files in /var/lib/aimem, /var/lib/aimem-backups and /var/cache/aimem. A file in DIR
    that differs is not overwritten: changes of your own belong in a drop-in, `systemctl edit aimem`.
    """
    from aimem.cli.unit_files import units
    from aimem.unpack import archive

    found = units(str((archive() or Path("/usr/bin/aimem")).absolute()))
    if out is None:
        print("\n".join(f"# {name}\n{text}" for name, text in found.items()), end="")
        return
    out.mkdir(parents=True, exist_ok=True)
    for name, text in found.items():
        if (out / name).exists() and (out / name).read_text() != text:
            raise Conflict(f"{out / name} exists and differs", hint="move it away; keep your changes in a drop-in")
    for name, text in found.items():
        working = out / f".{name}.working"
        working.write_text(text)
        os.replace(working, out / name)
