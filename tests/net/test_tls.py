"""TLS of the server over real sockets: who is let in, that a refusal is an alert, and that nothing of it is parsed."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from aimem.errors import Misconfigured
from aimem.net.message import Request, Response
from aimem.net.tls_context import server_context
from aimem.net.tls_selftest import check_verdicts
from aimem.net.tls_server import ServerTls, TlsPaths
from tests.waiting import PATIENCE_SECS, until

from .certificates import CLIENT, SERVER, Made, make
from .conftest import Running, Serve

GET = b"GET /who HTTP/1.1\r\nHost: n\r\n\r\n"
VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


class Fleet:
    """Certificates in a folder, the list that names some of them, and what was asked of the server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.allowlist = folder / "allowlist.txt"
        self.own = make(folder, "own", subject="server")
        self.listed = make(folder, "listed", ca=True)
        self.asked: list[Request] = []
        self.list(self.listed)

    def list(self, *members: Made) -> None:
        self.allowlist.write_text("".join(f"sha256:{each.fingerprint}  # {each.cert.name}\n" for each in members))

    def paths(self, *, mutual: bool = True) -> TlsPaths:
        return TlsPaths(self.own.cert, self.own.key, self.allowlist if mutual else None)

    async def answer(self, request: Request) -> Response:
        self.asked.append(request)
        return Response(200, (request.fingerprint or "nobody").encode())


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def connect(port: int, shown: Made | None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    if shown is not None:
        context.load_cert_chain(shown.cert, shown.key)
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), PATIENCE_SECS))


def exchange(port: int, shown: Made | None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> str:
    """The body of the reply, or the alert that came in its place."""
    try:
        with connect(port, shown, version) as connection:
            connection.sendall(GET)
            reply = b""
            while b"\r\n\r\n" not in reply:
                piece = connection.recv(65_536)
                assert piece, "neither a reply nor an alert"
                reply += piece
            return reply.partition(b"\r\n\r\n")[2].decode()
    except ssl.SSLError as err:
        if "ALERT" not in err.reason:
            raise
        return err.reason


async def serving(serve: Serve, fleet: Fleet, *, mutual: bool = True, **bounds: float) -> tuple[Running, ServerTls]:
    tls = ServerTls(fleet.paths(mutual=mutual))
    return await serve(fleet.answer, tls=tls, **bounds), tls


@VERSIONS
@pytest.mark.parametrize(
    "kind", ["self-signed", "expired", "no-usage", "server-only", "client-only", "signed-by-stranger"]
)
async def test_whoever_is_listed_is_let_in(serve: Serve, fleet: Fleet, version: ssl.TLSVersion, kind: str) -> None:
    shown_by: dict[str, Callable[[], Made]] = {
        "self-signed": lambda: fleet.listed,
        "expired": lambda: make(fleet.folder, kind, days=-400),
        "no-usage": lambda: make(fleet.folder, kind),
        "server-only": lambda: make(fleet.folder, kind, usages=(SERVER,)),
        "client-only": lambda: make(fleet.folder, kind, usages=(CLIENT,)),
        "signed-by-stranger": lambda: make(fleet.folder, kind, signer=make(fleet.folder, "ca", ca=True)),
    }
    shown = shown_by[kind]()
    fleet.list(shown)
    running, _ = await serving(serve, fleet)
    assert await asyncio.to_thread(exchange, running.port, shown, version) == shown.fingerprint


@VERSIONS
@pytest.mark.parametrize("kind", ["stranger", "same-subject-other-key", "child-of-a-listed", "none"])
async def test_whoever_is_not_listed_gets_an_alert_and_is_not_heard(
    serve: Serve, fleet: Fleet, version: ssl.TLSVersion, kind: str
) -> None:
    shown_by: dict[str, Callable[[], Made | None]] = {
        "stranger": lambda: make(fleet.folder, kind, subject="stranger"),
        "same-subject-other-key": lambda: make(fleet.folder, kind, ca=True),
        "child-of-a-listed": lambda: make(fleet.folder, kind, subject="child", signer=fleet.listed),
        "none": lambda: None,
    }
    shown = shown_by[kind]()
    running, _ = await serving(serve, fleet)
    assert "ALERT" in await asyncio.to_thread(exchange, running.port, shown, version)
    assert running.server.counters.handshakes_refused_total == 1
    assert running.server.counters.connections_total == running.server.counters.received_bytes_total == 0
    assert fleet.asked == []


@VERSIONS
async def test_without_a_list_nobody_is_asked_for_a_certificate(
    serve: Serve, fleet: Fleet, version: ssl.TLSVersion
) -> None:
    running, _ = await serving(serve, fleet, mutual=False)
    assert await asyncio.to_thread(exchange, running.port, None, version) == "nobody"
    assert await asyncio.to_thread(exchange, running.port, fleet.listed, version) == "nobody"


@VERSIONS
async def test_no_session_is_resumed(serve: Serve, fleet: Fleet, version: ssl.TLSVersion) -> None:
    running, _ = await serving(serve, fleet)

    def twice() -> bool | None:
        with connect(running.port, fleet.listed, version) as first:
            first.sendall(GET)
            first.recv(65_536)
            context, session = first.context, first.session
        again = socket.create_connection(("127.0.0.1", running.port), PATIENCE_SECS)
        with context.wrap_socket(again, session=session) as second:
            second.sendall(GET)
            second.recv(65_536)
            return second.session_reused

    assert await asyncio.to_thread(twice) is False


async def test_a_handshake_in_single_bytes_is_a_handshake(serve: Serve, fleet: Fleet) -> None:
    running, _ = await serving(serve, fleet)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(fleet.listed.cert, fleet.listed.key)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing)
    caller = await running.call()
    reply = b""
    shaken = False
    async with asyncio.timeout(PATIENCE_SECS):
        while b"\r\n\r\n" not in reply:
            try:
                if not shaken:
                    client.do_handshake()
                    shaken = True
                    client.write(GET)
                reply += client.read(65_536)
            except ssl.SSLWantReadError:
                for byte in outgoing.read():
                    await caller.send(bytes([byte]))
                incoming.write(await caller.reader.read(65_536))
    assert reply.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("data", [GET, b"\x16\x03\x01\xff\xff" + bytes(300), b"\x00" * 4_096])
async def test_garbage_is_no_handshake(serve: Serve, fleet: Fleet, data: bytes) -> None:
    running, _ = await serving(serve, fleet, linger_secs=0.01, handshake_secs=0.05)
    caller = await running.call()
    await caller.send(data)
    with suppress(ConnectionResetError):
        async with asyncio.timeout(PATIENCE_SECS):
            assert b"HTTP" not in await caller.reader.read()
    await until(lambda: running.server.counters.handshakes_failed_total == 1)
    assert fleet.asked == []


async def test_a_handshake_that_breaks_off_leaves_nothing(serve: Serve, fleet: Fleet) -> None:
    running, _ = await serving(serve, fleet)
    caller = await running.call()
    await caller.send(b"\x16\x03\x01\x02\x00\x01")
    await caller.close()
    await until(lambda: running.server.counters.handshakes_failed_total == 1)
    assert await asyncio.to_thread(exchange, running.port, fleet.listed) == fleet.listed.fingerprint


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01\x02\x00\x01"])
async def test_a_handshake_has_a_deadline(serve: Serve, fleet: Fleet, data: bytes) -> None:
    running, _ = await serving(serve, fleet, handshake_secs=0.02)
    caller = await running.call()
    await caller.send(data)
    assert await caller.closed()
    await until(lambda: running.server.counters.handshakes_failed_total == 1)


async def test_a_connection_too_many_is_cut_before_its_handshake(serve: Serve, fleet: Fleet) -> None:
    running, _ = await serving(serve, fleet, connections_max=1, connections_refused_max=0)
    with await asyncio.to_thread(connect, running.port, fleet.listed):
        assert await (await running.call()).closed()
    assert running.server.counters.refused_total == 1
    assert running.server.counters.handshakes_failed_total == 0


async def test_a_drain_ends_handshakes_too(serve: Serve, fleet: Fleet) -> None:
    running, _ = await serving(serve, fleet)
    caller = await running.call()
    assert await running.server.drain(0.0) == 0
    assert await caller.closed()


async def test_a_large_reply_arrives_whole(serve: Serve, fleet: Fleet) -> None:
    body = bytes(range(256)) * 8_192

    async def answer(request: Request) -> Response:
        return Response(200, body)

    running = await serve(answer, tls=ServerTls(fleet.paths()))

    def fetch() -> bytes:
        with connect(running.port, fleet.listed) as connection:
            connection.sendall(GET.replace(b"Host: n", b"Host: n\r\nConnection: close"))
            got = bytearray()
            while piece := connection.recv(65_536):
                got += piece
            return bytes(got)

    assert (await asyncio.to_thread(fetch)).partition(b"\r\n\r\n")[2] == body


async def test_an_early_refusal_is_read_though_the_client_still_sends(serve: Serve, fleet: Fleet) -> None:
    running, _ = await serving(serve, fleet, body_bytes_max=10)

    def send_too_much() -> bytes:
        with connect(running.port, fleet.listed) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: n\r\nContent-Length: 200000\r\n\r\n" + bytes(200_000))
            got = bytearray()
            while piece := connection.recv(65_536):
                got += piece
            return bytes(got)

    assert (await asyncio.to_thread(send_too_much)).startswith(b"HTTP/1.1 413 ")
    assert fleet.asked == []


async def test_a_client_that_leaves_ends_its_handler(serve: Serve, fleet: Fleet) -> None:
    ended = asyncio.Event()

    async def answer(request: Request) -> Response:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    running = await serve(answer, tls=ServerTls(fleet.paths()))
    connection = await asyncio.to_thread(connect, running.port, fleet.listed)
    await asyncio.to_thread(connection.sendall, GET)
    await until(lambda: running.server.counters.requests_in_flight == 1)
    connection.close()
    async with asyncio.timeout(PATIENCE_SECS):
        await ended.wait()


# Reload.


async def test_a_reload_lets_new_ones_in_and_cuts_those_who_went(serve: Serve, fleet: Fleet) -> None:
    running, tls = await serving(serve, fleet)
    other = make(fleet.folder, "other")
    held = await asyncio.to_thread(connect, running.port, fleet.listed)
    with held:
        await until(lambda: running.server.counters.connections == 1)
        fleet.list(fleet.listed, other)
        tls.reload()
        assert running.server.cut_unlisted() == 0
        assert await asyncio.to_thread(exchange, running.port, other) == other.fingerprint
        fleet.list(other)
        tls.reload()
        assert running.server.cut_unlisted() == 1
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
            await asyncio.to_thread(_asked_again, held)
    assert "ALERT" in await asyncio.to_thread(exchange, running.port, fleet.listed)


def _asked_again(connection: ssl.SSLSocket) -> None:
    connection.sendall(GET)
    if not connection.recv(1):
        raise ConnectionResetError


async def test_a_handshake_that_began_before_a_reload_is_judged_by_the_new_list(serve: Serve, fleet: Fleet) -> None:
    tls = ServerTls(fleet.paths())
    running = await serve(fleet.answer, tls=tls)
    waiting = await running.call()  # its connection has the context from before
    fleet.list(make(fleet.folder, "other"))
    tls.reload()
    sock = waiting.writer.get_extra_info("socket")
    assert sock is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(fleet.listed.cert, fleet.listed.key)
    await waiting.writer.start_tls(context)
    await waiting.send(GET)
    with pytest.raises(OSError, match=r"(?i)alert"):
        await waiting.reader.read()
    assert fleet.asked == []


async def test_a_reload_shows_the_new_certificate(serve: Serve, fleet: Fleet) -> None:
    running, tls = await serving(serve, fleet)
    fleet.own = make(fleet.folder, "own", subject="server")
    tls.reload()

    def shown() -> bytes | None:
        with connect(running.port, fleet.listed) as connection:
            return connection.getpeercert(binary_form=True)

    der = await asyncio.to_thread(shown)
    assert der is not None
    assert tls.fingerprint == fleet.own.fingerprint


def _other_key(fleet: Fleet) -> None:
    make(fleet.folder, "own2")
    (fleet.folder / "own2.key").replace(fleet.own.key)


SPOILED: dict[str, Callable[[Fleet], object]] = {
    "own.key: it is not the key": _other_key,
    "own.crt: it holds no certificate": lambda fleet: fleet.own.cert.write_text("nothing"),
    "own.key: it holds no private key": lambda fleet: fleet.own.key.write_text("nothing"),
    "own.crt: No such file": lambda fleet: fleet.own.cert.unlink(),
    "allowlist.txt: line 1: ": lambda fleet: fleet.allowlist.write_text("zz\n"),
    "allowlist.txt: nobody is listed": lambda fleet: fleet.allowlist.write_text("# none\n"),
    "allowlist.txt: it is not UTF-8": lambda fleet: fleet.allowlist.write_bytes(b"\xff"),
}


@pytest.mark.parametrize("reason", list(SPOILED))
async def test_files_that_cant_be_used_are_named_and_change_nothing(serve: Serve, fleet: Fleet, reason: str) -> None:
    running, tls = await serving(serve, fleet)
    SPOILED[reason](fleet)
    for load in (tls.reload, lambda: ServerTls(fleet.paths())):
        with pytest.raises(Misconfigured) as refused:
            load()
        assert reason in refused.value.message
        assert str(fleet.folder) in refused.value.extra["file"]
    assert await asyncio.to_thread(exchange, running.port, fleet.listed) == fleet.listed.fingerprint


def test_an_expired_certificate_and_an_open_key_are_warned_of(fleet: Fleet) -> None:
    assert ServerTls(fleet.paths()).warnings == ()
    fleet.own = make(fleet.folder, "own", days=-3)
    fleet.own.key.chmod(0o644)
    expired, open_to_all = ServerTls(fleet.paths()).warnings
    assert "own.crt expired on" in expired
    assert "own.key" in open_to_all
    assert "chmod 600" in open_to_all


# The self-test.


@pytest.mark.parametrize(("verdict", "who"), [(True, "a stranger was let in"), (False, "a listed client was sent")])
def test_a_library_that_decides_wrongly_does_not_serve(fleet: Fleet, verdict: bool, who: str) -> None:
    own = ServerTls(fleet.paths())._credentials
    check_verdicts(lambda listed: server_context(own, listed))
    with pytest.raises(Misconfigured, match=who):
        check_verdicts(lambda listed: server_context(own, lambda fingerprint: verdict))


def test_a_library_that_asks_for_no_certificate_does_not_serve(fleet: Fleet) -> None:
    own = ServerTls(fleet.paths())._credentials
    with pytest.raises(Misconfigured, match="a stranger was let in"):
        check_verdicts(lambda listed: server_context(own, None))


def test_a_narrowed_peer_is_named(tmp_path: Path) -> None:
    """What a peer may carry is known by its node: a line that narrows nobody in particular is refused at the start."""
    from aimem.net.tls_server import _read_allowlist

    path = tmp_path / "list"
    path.write_text(f"{'ab' * 32} # namespaces=org/eu/**\n")
    with pytest.raises(Misconfigured, match="node="):
        _read_allowlist(path)
    for words in ("node=a namespaces=org/eu/**", "roles=agent namespaces=org/eu/**"):
        path.write_text(f"{'ab' * 32} # {words}\n")
        assert _read_allowlist(path).entries
