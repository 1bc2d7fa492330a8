"""`aimem serve`: run a node. Here are its flags only; the node is `aimem.http.app`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from aimem.cli.invocation import OLD_NAME, Invocation
from aimem.cli.options import Command, cache_dir_option, config_option, db_option, not_empty, pass_invocation
from aimem.config.fitting import LOG_FORMATS, LOG_LEVELS, QUORUM_SCOPES, TIERS
from aimem.config.serve import byte_count, serve_settings
from aimem.config.settings import ServeSettings
from aimem.errors import Misconfigured
from aimem.limits import REPLICA_LAG_SECS, REPLICA_LAG_SECS_MAX


class Bind(click.ParamType[str]):
    """HOST:PORT."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check that there is a port."""
        if not str(value).rpartition(":")[2].isdigit() or ":" not in str(value):
            self.fail(f"{value!r} is not HOST:PORT", param, ctx)
        return str(value)


class Size(click.ParamType[str]):
    """Bytes, with K, M or G."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the size; it stays text, as in the file."""
        try:
            byte_count(value)
        except Misconfigured as err:
            self.fail(err.message, param, ctx)
        return str(value)


@click.command(
    "serve",
    cls=Command,
    examples="""
aimem serve --db /var/lib/aimem/aimem.db
aimem serve --bind 127.0.0.1:9077 --tier keyword
aimem serve --config /etc/aimem/aimem.toml --check
aimem serve --store-url postgres://aimem@pg.example:5432/aimem
""",
)
@click.option("--bind", type=Bind(), metavar="HOST:PORT", help="Address to listen on; port 0 takes a free one.")
@click.option("--host", metavar="HOST", help="Host to listen on. [127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65_535), metavar="PORT", help="Port to listen on. [9077]")
@click.option(
    "--store-url",
    metavar="URL",
    callback=not_empty,
    help="Keep memories in this Postgres with pgvector, which other nodes share.",
)
@click.option(
    "--store-read-url",
    multiple=True,
    metavar="URL",
    callback=not_empty,
    help="Read from this hot standby of it too; several times. Own writes are always found.",
)
@click.option(
    "--store-read-lag-secs",
    type=click.IntRange(1, REPLICA_LAG_SECS_MAX),
    metavar="SECONDS",
    help=f"How old what a standby answers may be. [{REPLICA_LAG_SECS}]",
)
@click.option("--tier", type=click.Choice(TIERS), help="Recall by words only, or by meaning too. [semantic]")
@click.option("--tls-cert", metavar="FILE", help="Certificate to serve with (PEM, with those above it).")
@click.option("--tls-key", metavar="FILE", help="Its private key.")
@click.option("--mtls-allowlist", metavar="FILE", help="Let in clients only whose certificates are listed here.")
@click.option("--api-key-file", metavar="FILE", help="Keys of agents, one a line, readable by its owner only.")
@click.option("--memory-max", type=Size(), metavar="SIZE", help="Memory that the vector index may take: 512M, 2G.")
@click.option("--fleet", metavar="NAME", help="The fleet whose node this is: a store of another is refused.")
@click.option("--node", metavar="NAME", help="Name of this node. [that of its allowlist line, or the database]")
@click.option("--rack", metavar="NAME", help="Rack that this node stands in.")
@click.option("--zone", metavar="NAME", help="Zone that this node stands in.")
@click.option("--quorum-peers", metavar="URL,URL", help="The other nodes; #SHA256 behind one pins its certificate.")
@click.option("--quorum-writes", metavar="W", help="Nodes that must hold a write, this one included. [majority]")
@click.option("--quorum-racks", type=click.IntRange(1), metavar="R", help="Racks that must hold a write. [1]")
@click.option("--quorum-scope", type=click.Choice(QUORUM_SCOPES), help="What --quorum-writes counts. [nodes]")
@click.option("--quorum-timeout-ms", type=click.IntRange(1), metavar="MS", help="How long a write may wait. [2000]")
@click.option("--quorum-client-cert", metavar="FILE", help="Certificate that peers are shown.")
@click.option("--quorum-client-key", metavar="FILE", help="Its key.")
@click.option("--quorum-ca-cert", metavar="FILE", help="CA of the peers' certificates. [the system's]")
@click.option(
    "--catchup-interval-secs", type=click.IntRange(0), metavar="SECONDS", help="Between catch-ups; 0: when poked. [30]"
)
@click.option("--max-skew", type=click.IntRange(1), metavar="SECONDS", help="How far clocks may be apart. [30]")
@click.option(
    "--count-legacy-acks", is_flag=True, default=None, help="Count acknowledgements of ai-memory nodes towards W."
)
@click.option(
    "--webhook-networks", metavar="NET,NET", help="Private networks that webhooks may lead into: 10.20.0.0/16."
)
@click.option(
    "--webhook-give-up-secs",
    type=click.IntRange(1),
    metavar="SECONDS",
    help="How long a receiver is tried before an event is a dead letter. [21600]",
)
@click.option(
    "--require-identity",
    is_flag=True,
    default=None,
    help="Show callers without a certificate or key collective memories alone.",
)
@click.option("--insecure", is_flag=True, default=None, help="Listen off loopback without authentication.")
@click.option(
    "--check", is_flag=True, default=None, help="Check settings, certificates, lists and database, then exit."
)
@click.option("--allow-network-fs", is_flag=True, default=None, help="Open a database on NFS or SMB all the same.")
@click.option("--tombstone-days", type=click.IntRange(1), metavar="DAYS", help="How long deletes are remembered. [30]")
@click.option(
    "--collect-grace-secs", type=click.IntRange(0), metavar="SECONDS", help="From expiry to collection. [3600]"
)
@click.option("--shutdown-grace-secs", type=click.IntRange(0), metavar="SECONDS", help="For requests at shutdown. [30]")
@click.option("--log-format", type=click.Choice(LOG_FORMATS), help="Form of the log on stderr. [text]")
@click.option("--log-level", type=click.Choice(LOG_LEVELS), help="Lowest level that is logged. [warning]")
@pass_invocation
def command(invocation: Invocation, /, **flags: Any) -> int:
    """Run a node.

    It listens on loopback unless told otherwise, keeps its memories in one file, or with --store-url in a Postgres that
    many nodes share (see aimem-store(7), also for where its password comes from), and stops on SIGTERM after the
    requests in flight are answered. SIGHUP reads the configuration file, the certificates, the allowlist and the API
    keys again, keeps the old ones where the new can't be used, and cuts connections whose certificate is no longer
    listed. Flags stand above the environment, and the environment above the file.

    --check reads all that a start would read (settings, certificates and keys for both directions, lists, model,
    database), says what it means, and exits without listening: 78 for a file or a setting that can't be used, 1 for a
    database that is damaged, 75 when a node holds the database, after all else was found well. It makes no database.
    """
    settings = _settings(invocation, flags)
    from aimem.http.app import serve  # after the settings: a mistake in them is told at once

    # A copy of the invocation has not read the file yet.
    return serve(settings, reload=lambda: _settings(replace(invocation), flags))


def _settings(invocation: Invocation, flags: dict[str, Any]) -> ServeSettings:
    shared = {name: invocation.flags.get(name) for name in ("db", "cache_dir")}
    old_name = invocation.program == OLD_NAME
    return serve_settings(flags | shared, invocation.env, invocation.config, old_name=old_name)


command.params += [
    db_option("Database file. [AIMEM_DB; AI_MEMORY_DB; $STATE_DIRECTORY/aimem.db; ./aimem.db]", section="Options"),
    config_option(section="Options"),
    cache_dir_option(section="Options"),
]
