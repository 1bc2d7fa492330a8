"""`aimem store`: look after a shared store. The work is done beside its nodes, straight on the server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import Command, Group, Shared, cache_dir_option, config_option, json_option, pass_invocation
from aimem.config.serve import serve_settings
from aimem.errors import Usage
from aimem.limits import PARTITIONS_MAX

if TYPE_CHECKING:
    from aimem.mesh.neighbours import Neighbour

T = TypeVar("T")


def _url_option() -> Shared:
    text = "The store. [store_url of the configuration]"
    return Shared("--store-url", metavar="URL", section="Options", help=text)


def _where() -> list[click.Parameter]:
    """Which store, on the command and on what it does."""
    return [_url_option(), config_option(section="Options"), cache_dir_option(section="Options")]


@click.group(
    "store",
    cls=Group,
    params=_where(),
    examples="""
aimem store check
aimem store tune --store-url postgres://aimem@pg.example/aimem
aimem store maintain
aimem store partition 16
""",
)
def command() -> None:
    """Look after the Postgres that nodes share.

    Its nodes may go on meanwhile. See aimem-store(7).
    """


@command.command("check", cls=Command, params=[json_option(), *_where()], examples="aimem store check --json")
@click.option(
    "--store-read-url", multiple=True, metavar="URL", help="A hot standby of it. [store_read_url of the configuration]"
)
@pass_invocation
def check(invocation: Invocation, store_read_url: tuple[str, ...]) -> int:
    """Say whether the server is fit, whose store it is, which nodes have it open, what a failover could lose, how far
    its standbys are behind, and whether searches see every vector.

    Exit code 78 where a node would not start, 1 where vectors are missing, too many or of another text. Every vector is
    read, beside the nodes: about a minute for a million.
    """
    from aimem.http.app import replicas, shared_store

    settings = _settings(invocation, store_read_url=store_read_url)
    target, copies = shared_store(settings), replicas(settings)

    async def ask() -> tuple[dict[str, Any], bool]:
        from aimem.store.postgres.inspection import examine
        from aimem.store.postgres.replicas import Replicas

        read_from = Replicas(copies, settings.store_read_lag_secs)
        try:
            server = await examine(target, replicas=read_from, fleet=settings.fleet)
            return await server.describe(), server.no_store
        finally:
            await read_from.close()

    found, no_store = asyncio.run(ask())
    wrong, half_done, nodes = _inside(invocation)
    if invocation.json:
        more = {
            "store": not no_store,
            "vectors": wrong,
            "half_done": half_done,
            "nodes": [each._asdict() for each in nodes],
        }
        output.print_json({**found, **more})
        return 1 if wrong else 0
    output.print_fields({name: found[name] for name in ("url", "server", "pgvector", "failover", "fleet")})
    if no_store:
        output.say("there is no store in this database yet: the first node that starts makes one; is it the right one?")
    for node in nodes:
        output.print_line("open on", node.node, *([f"of the fleet {node.fleet}"] if node.fleet else ()))
    for each in found["replicas"]:
        output.print_line(each["url"], each["why"] or f"{each['bytes_behind_at_start'] or 0} bytes of the log behind")
    for finding in found["findings"]:
        output.say(f"{finding['words']}; {finding['hint']}")
    for each in (*wrong, *half_done):
        output.say(each)
    if wrong:
        output.say(
            "to have the nodes fill that table anew: UPDATE progress SET position = 0 WHERE name LIKE 'settled:%';"
        )
        output.say("DELETE FROM embedding; until they are done, recall uses words")
    return 1 if wrong else 0


def _inside(invocation: Invocation) -> tuple[list[str], list[str], list[Neighbour]]:
    """What is wrong with the vectors of the store, what of them is half done, and which nodes have it open; nothing
    where there is none yet."""

    async def look(session: Any) -> tuple[list[str], list[str], list[Neighbour]]:
        from aimem.mesh.neighbours import NODES, neighbour_of
        from aimem.store.postgres import leases
        from aimem.store.postgres.checking_vectors import check_vectors
        from aimem.store.postgres.partitioning import half_done
        from aimem.store.postgres.session import one, snapshot, unbounded

        await unbounded(session, session=True)
        async with snapshot(session):
            if await one(session, "SELECT to_regclass('embedding')") == (None,):
                return [], [], []
            wrong, begun = await check_vectors(session), await half_done(session)
            nodes = [neighbour_of(name) for name in await leases.held(session, NODES)]
            return wrong, [] if begun is None else [begun], nodes

    return asyncio.run(_on_server(invocation, look))


@command.command(
    "tune",
    cls=Command,
    params=[json_option(), *_where()],
    examples="""
aimem store tune --json
aimem store tune --apply
""",
)
@click.option("--apply", "applying", is_flag=True, help="Do what this role may, and say what is left to a superuser.")
@pass_invocation
def tune(invocation: Invocation, applying: bool) -> int:
    """Say what the server should be given for what it holds, and why.

    Without --apply nothing is changed. Exit code 0 also when something is missing; 75 while another one is at it.
    """
    return asyncio.run(_tuned(invocation, applying=applying))


async def _tuned(invocation: Invocation, *, applying: bool) -> int:
    from aimem.store.postgres.tuning import advise, apply, measure

    async def work(session: Any) -> Any:
        return await apply(session, _told_to_a_person)

    applied = await _on_server(invocation, work) if applying else None
    size = await _on_server(invocation, measure)  # anew: what a role sets holds from its next connection on
    advice = advise(size)
    if invocation.json:
        told = [{"setting": a.setting, "given": a.given, "wanted": a.wanted, "unit": a.unit, "met": a.met, "why": a.why}
                for a in advice]  # fmt: skip
        reply: dict[str, Any] = {"memories": size.memories, "vectors": size.vectors, "advice": told}
        if applied is not None:
            reply["done"] = applied.done
            reply["left"] = [{"statement": statement, "why": why} for statement, why in applied.left]
        output.print_json(reply)
        return 0
    header = ("SETTING", "IS", "WANTED", "UNIT", "", "WHY")
    table = [[a.setting, str(a.given), str(a.wanted), a.unit, "" if a.met else "not met", a.why] for a in advice]
    output.print_rows(header, table, stretch=5)
    if applied is not None:
        for line in applied.done:
            output.say(f"done: {line}")
        for statement, why in applied.left:
            output.say(f"left to a superuser: {statement}; ({why})")
    return 0


@command.command(
    "maintain", cls=Command, params=_where(), examples="aimem store maintain --config /etc/aimem/aimem.toml"
)
@pass_invocation
def maintain(invocation: Invocation) -> int:
    """Bring statistics up to date, and build the graph of vectors anew where many are dead.

    Fit for a timer: it says nothing in a pipe, and exits 75 while another one is at it.
    """

    async def work(session: Any) -> list[str]:
        from aimem.store.postgres.upkeep import maintain

        return await maintain(session)

    done = asyncio.run(_on_server(invocation, work))
    for line in done if output.is_tty(sys.stderr) else ():
        output.say(line)
    return 0


@command.command(
    "partition",
    cls=Command,
    params=_where(),
    examples="aimem store partition 16 --store-url postgres://aimem@pg.example/aimem",
)
@click.argument("count", metavar="N", type=click.IntRange(1, PARTITIONS_MAX))
@pass_invocation
def partition(invocation: Invocation, count: int) -> int:
    """Cut the vectors into N parts by root namespace, so that a search in one root looks at one of them.

    Makes a new store where there is none. Nodes serve on meanwhile, and follow by themselves. Run again after it was
    broken off, it goes on; with the number that there is now, what was begun is dropped. Exit code 75 while another one
    is at it.
    """
    for line in asyncio.run(_made(invocation)):
        output.say(line)

    async def work(session: Any) -> list[str]:
        from aimem.store.postgres.partitioning import partition

        return await partition(session, count, _told_to_a_person)

    for line in asyncio.run(_on_server(invocation, work)):
        output.say(line)
    return 0


def _told_to_a_person(words: str) -> None:
    if output.is_tty(sys.stderr):
        output.say(words)


async def _made(invocation: Invocation) -> list[str]:
    """Make the tables, or bring older ones up to date, as a node that starts. What to tell of a store that is new."""
    from aimem.http.app import shared_store
    from aimem.store.postgres.inspection import examine
    from aimem.store.postgres.opening import open_store

    settings = _settings(invocation)
    server = await examine(shared_store(settings), fleet=settings.fleet)
    await (await open_store(shared_store(settings), fleet=settings.fleet)).close()
    return server.made()


def _settings(invocation: Invocation, **more: Any) -> Any:
    flags = {name: invocation.flags.get(name) for name in ("store_url", "cache_dir")} | more
    settings = serve_settings(flags, {**invocation.env, "AIMEM_DB": "", "AI_MEMORY_DB": ""}, invocation.config)
    if settings.store_url is None:
        raise Usage("no store is named", hint="say --store-url, or set store_url in the configuration")
    return settings


async def _on_server(invocation: Invocation, work: Callable[[Any], Awaitable[T]]) -> T:
    """Do something on a connection of its own, to tables that are there, and that a node of this program would open."""
    import psycopg

    from aimem.http.app import shared_store
    from aimem.store.postgres.connections import open_connections
    from aimem.store.postgres.failures import DeadlinePassed
    from aimem.store.postgres.inspection import no_store
    from aimem.store.postgres.schema import version_of

    target = shared_store(_settings(invocation))
    connections = await open_connections(target, most=1)
    try:
        session = await connections.alone()
        try:
            await version_of(session)
            return await work(session)
        finally:
            await session.close()
    except psycopg.errors.UndefinedTable as error:
        raise no_store(target) from error
    except (psycopg.Error, DeadlinePassed) as error:
        raise connections.told(error) from error
    finally:
        await connections.close()
