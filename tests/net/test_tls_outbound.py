"""TLS of a node towards its peers: by CA and name, or by a pin; a wrong peer gets no byte and no certificate."""

from __future__ import annotations

from pathlib import Path

import pytest

from aimem.errors import NoAnswer, Unreachable
from aimem.net.client import Address
from aimem.net.client_tls import TlsFiles, context
from aimem.net.link import Link
from aimem.net.message import Request, Response
from aimem.net.tls_server import ServerTls, TlsPaths
from tests.waiting import until

from .certificates import Made, make
from .conftest import Running, Serve


class Pair:
    """A server's certificate, signed by a CA, and a client's, which is listed."""

    def __init__(self, folder: Path) -> None:
        self.ca = make(folder, "ca", subject="ca", ca=True)
        self.other_ca = make(folder, "other", subject="other", ca=True)
        self.own = make(folder, "own", subject="own", signer=self.ca)
        self.client = make(folder, "client", subject="client")
        self.stranger = make(folder, "stranger", subject="stranger")
        (folder / "list").write_text(self.client.fingerprint)
        self.paths = TlsPaths(self.own.cert, self.own.key, folder / "list")

    def files(self, ca: Made | None = None, shown: Made | None = None, pin: str | None = None) -> TlsFiles:
        own = shown or self.client
        return TlsFiles(str(ca.cert) if ca else None, str(own.cert), str(own.key), pin)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


async def answer(request: Request) -> Response:
    return Response(200, (request.fingerprint or "nobody").encode() + request.body)


async def ask(running: Running, files: TlsFiles, host: str = "127.0.0.1") -> tuple[int, bytes]:
    link = await Link.connect(Address.parse(f"https://{host}:{running.port}"), context(files))
    try:
        return await link.send("POST", "/x", b"+body")
    finally:
        link.close()


async def test_a_peer_is_known_by_its_ca_or_by_its_pin_or_both(serve: Serve, pair: Pair) -> None:
    running = await serve(answer, tls=ServerTls(pair.paths))
    expected = (200, f"{pair.client.fingerprint}+body".encode())
    colons = ":".join(pair.own.fingerprint[at : at + 2] for at in range(0, 64, 2)).upper()
    for files in (
        pair.files(pair.ca),
        pair.files(pin=pair.own.fingerprint),
        pair.files(pin=f"sha256:{colons}"),
        pair.files(pair.ca, pin=pair.own.fingerprint),
    ):
        assert await ask(running, files) == expected


async def test_a_pin_asks_for_no_name_and_a_ca_does(serve: Serve, pair: Pair) -> None:
    running = await serve(answer, tls=ServerTls(pair.paths))
    assert (await ask(running, pair.files(pin=pair.own.fingerprint), "localhost"))[0] == 200
    with pytest.raises(Unreachable, match="localhost"):
        await ask(running, pair.files(pair.ca), "localhost")


async def test_a_wrong_peer_gets_nothing(serve: Serve, pair: Pair) -> None:
    """HOLE 30: a client certificate of our own does not make us trust whoever answers."""
    running = await serve(answer, tls=ServerTls(pair.paths))
    wrong = (
        pair.files(pair.other_ca),
        pair.files(),
        pair.files(pin=pair.ca.fingerprint),
        pair.files(pair.ca, pin=pair.ca.fingerprint),
    )
    for number, files in enumerate(wrong, 1):
        with pytest.raises(Unreachable, match="can't reach"):
            await ask(running, files)
        await until(lambda number=number: running.server.counters.handshakes_failed_total == number)  # type: ignore[misc]
    assert running.server.counters.connections_total == 0
    assert running.server.counters.handshakes_refused_total == 0  # it never saw a certificate


async def test_a_node_that_is_not_listed_hears_the_alert(serve: Serve, pair: Pair) -> None:
    running = await serve(answer, tls=ServerTls(pair.paths))
    with pytest.raises(NoAnswer, match=r"(?i)alert"):
        await ask(running, pair.files(pair.ca, pair.stranger))
    assert running.server.counters.connections_total == 0


async def test_many_messages_take_one_handshake(serve: Serve, pair: Pair) -> None:
    running = await serve(answer, tls=ServerTls(pair.paths))
    link = await Link.connect(Address.parse(f"https://127.0.0.1:{running.port}"), context(pair.files(pair.ca)))
    body = bytes(range(256)) * 4_096
    for _ in range(3):
        assert (await link.send("POST", "/x", body))[1].endswith(body)
    link.close()
    assert running.server.counters.connections_total == 1
