"""`aimem restore`: a backup becomes a database. The work is done by the store."""

from __future__ import annotations

from pathlib import Path

import click

from aimem.cli.invocation import Invocation
from aimem.cli.options import Command, config_option, db_option, pass_invocation
from aimem.config.place import database_path


@click.command(
    "restore",
    cls=Command,
    examples="""
aimem restore /var/backups/aimem --db /var/lib/aimem/aimem.db
aimem restore aimem-2026-11-24T120000.000000Z.db --db restored.db
""",
)
@click.argument("backup", type=click.Path(path_type=Path))
@pass_invocation
def command(invocation: Invocation, backup: Path) -> None:
    """Make a database out of a backup.

    BACKUP is a file that `aimem backup` made, or a folder: then its newest one. Its size, SHA-256, integrity and schema
    are verified first; a backup that is not what its manifest says is refused with exit code 8. A database that exists
    is never overwritten (78), nor one that a node holds (75). The restored store is a new incarnation: other nodes see
    that it has gone back. It says nothing when all went well.
    """
    from aimem.store.sqlite.restore import restore

    restore(backup, database_path(invocation.flags.get("db"), invocation.env, invocation.config))


command.params += [
    db_option("Database to make. [AIMEM_DB; AI_MEMORY_DB; $STATE_DIRECTORY/aimem.db; ./aimem.db]", section="Options"),
    config_option(section="Options"),
]
