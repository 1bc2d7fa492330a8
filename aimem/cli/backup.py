"""`aimem backup`: a checked copy of the database beside a running node. The work is done by the store."""

from __future__ import annotations

from pathlib import Path

import click

from aimem.cli.invocation import Invocation
from aimem.cli.options import Command, config_option, db_option, pass_invocation
from aimem.config.place import database_path
from aimem.limits import BACKUPS_KEPT


@click.command(
    "backup",
    cls=Command,
    examples="""
aimem backup --to /var/backups/aimem
aimem backup --db /var/lib/aimem/aimem.db --to /mnt/backups --keep 7
""",
)
@click.option(
    "--to", "folder", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Where to."
)
@click.option(
    "--keep", type=click.IntRange(1), default=BACKUPS_KEPT, metavar="N", help=f"Keep the newest N. [{BACKUPS_KEPT}]"
)
@pass_invocation
def command(invocation: Invocation, folder: Path, keep: int) -> None:
    """Make a backup of a database, beside a running node.

    It shows one moment of the database, and the node goes on reading and writing. DIR gets aimem-TIME.db and beside it
    aimem-TIME.manifest.json with the SHA-256, the schema, the state digest and the last version. The copy is checked
    and on disk before it gets that name, and only then backups of this database beyond the newest N are removed.

    It says nothing when all went well, needs no terminal and no environment, and exits 75 while another backup of the
    same database or into the same folder is running, or when the disk is full: fit for cron and timers.
    """
    from aimem.store.sqlite.backup import back_up

    back_up(database_path(invocation.flags.get("db"), invocation.env, invocation.config), folder, keep)


command.params += [
    db_option("Database file. [AIMEM_DB; AI_MEMORY_DB; $STATE_DIRECTORY/aimem.db; ./aimem.db]", section="Options"),
    config_option(section="Options"),
]
