"""The client against scripted bytes: every way a reply ends, and what each kind of break means."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import trustme

from aimem.errors import AimemError, Misconfigured, NoAnswer, Unreachable, Usage
from aimem.net.client import Address, Client, path_of
from aimem.net.client_tls import TlsFiles
from aimem.net.head import recognise

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Script:
    """A server that answers the requests of its n-th connection with the n-th list of byte strings, then closes."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.context = context
        self.connections: list[list[bytes]] = []
        self.requests: list[bytes] = []
        self.hold = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def start(self, *connections: list[bytes]) -> Script:
        self.connections = list(connections)
        self.thread.start()
        return self

    def close(self) -> None:
        """End it, though connections that are scripted were never made."""
        self.hold.set()
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # `accept` returns
        if self.thread.ident:
            self.thread.join()
        self.listener.close()

    def _serve(self) -> None:
        for replies in self.connections:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            try:
                sock = self.context.wrap_socket(sock, server_side=True) if self.context else sock
                with sock:
                    for reply in replies:
                        self._answer(sock, reply)
            except OSError:
                sock.close()

    def _answer(self, sock: socket.socket, reply: bytes) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            if not (more := sock.recv(65536)):
                return
            data += more
        self.requests.append(data)
        if reply == b"silence":
            self.hold.wait()
        else:
            for at in range(0, len(reply), 7):  # in small pieces
                sock.sendall(reply[at : at + 7])


@pytest.fixture
def script() -> Iterator[Script]:
    made = Script()
    yield made
    made.close()


@pytest.fixture
def client(script: Script) -> Iterator[Client]:
    made = Client(script.url)
    yield made
    made.close()


@pytest.mark.parametrize(
    "raw",
    [
        OK,
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\nTrailer: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\ncontent-length:2\r\n\r\n{}",
    ],
)
def test_every_end_of_a_body(script: Script, client: Client, raw: bytes) -> None:
    script.start([raw])
    reply = client.request("GET", "/x", {"q": "a b&c"})
    assert (reply.status, reply.json()) == (200, {})
    assert script.requests[0].startswith(b"GET /x?q=a+b%26c HTTP/1.1\r\nHost: 127.0.0.1:")


def test_its_heads_have_the_common_shape(script: Script, client: Client) -> None:
    """So a node reads them without h11."""
    script.start([OK, OK])
    client.request("GET", path_of("memories", "a b"), {"q": "é/?&"}, headers={"X-Agent-Id": "host:a"})
    client.request("DELETE", path_of("memories", "x"), headers={"Idempotency-Key": "k", "If-Match": '"v"'})
    for raw in script.requests:
        head = recognise(raw)
        assert head is not None
        assert head.length == 0


def test_a_connection_is_kept(script: Script, client: Client) -> None:
    script.start([OK, b"HTTP/1.1 204 No Content\r\n\r\n", OK])
    assert [client.request("GET", "/").status for _ in range(3)] == [200, 204, 200]


def test_a_kept_connection_that_was_closed_is_replaced_when_a_repeat_is_safe(script: Script, client: Client) -> None:
    script.start([OK], [OK], [OK])
    client.request("GET", "/")
    client.request("POST", "/", body={}, headers={"Idempotency-Key": "k"})
    with pytest.raises(NoAnswer):
        client.request("POST", "/", body={})
    assert client.request("GET", "/").status == 200


def test_a_break_after_the_request_is_no_answer(script: Script, client: Client) -> None:
    script.start([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"])
    with pytest.raises(NoAnswer, match="broke the connection"):
        client.request("GET", "/")


def test_silence_is_no_answer(script: Script) -> None:
    script.start([b"silence"])
    with pytest.raises(NoAnswer, match=r"did not answer within 0\.05 s"):
        Client(script.url, read_secs=0.05).request("POST", "/", body={})


def test_nobody_there_is_unreachable_and_not_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unreachable, match=f"127.0.0.1:{port}: connection refused") as caught:
        Client(f"http://127.0.0.1:{port}").request("GET", "/")
    assert not isinstance(caught.value, NoAnswer)


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
    ],
)
def test_what_is_no_reply_is_refused(script: Script, client: Client, raw: bytes) -> None:
    script.start([raw])
    with pytest.raises(AimemError) as caught:
        client.request("GET", "/")
    assert caught.value.code in ("internal", "no_answer")


def test_a_header_can_not_smuggle(client: Client) -> None:
    for value in ("a\r\nX: y", "é", "a\x00"):
        with pytest.raises(Usage):
            client.request("GET", "/", headers={"X-Agent-Id": value})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://host:1/", "http://host:1"),
        ("host:9077", "http://host:9077"),
        ("https://host/p/", "https://host:443/p"),
        ("http://[::1]:5", "http://[::1]:5"),
        ("http://host", "http://host:80"),
    ],
)
def test_addresses(url: str, shown: str) -> None:
    assert str(Address.parse(url)) == shown


@pytest.mark.parametrize(
    "url", ["", "ftp://h", "http://", "http://h:99999", "http://u:p@h", "http://h/?q", "http://h/#f"]
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(Usage):
        Address.parse(url)


def test_paths_quote_their_segments() -> None:
    assert path_of("memories", "a/b é", "promote") == "/api/v1/memories/a%2Fb%20%C3%A9/promote"


# TLS: how the server's certificate is judged.


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[Script, Path, str]]:
    """A server with a certificate for `localhost`, its CA's file, and the certificate's fingerprint."""
    ca = trustme.CA()
    issued = ca.issue_cert("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    script = Script(context)
    script.url = script.url.replace("http://127.0.0.1", "https://localhost")
    der = ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
    yield script, tmp_path / "ca.pem", sha256(der).hexdigest()
    script.close()


def test_tls_by_ca_and_by_pin(tls: tuple[Script, Path, str]) -> None:
    script, ca, pin = tls
    script.start([OK], [OK], [OK])
    colons = ":".join(pin[at : at + 2] for at in range(0, 64, 2)).upper()
    choices: list[dict[str, Any]] = [
        {"ca_cert": str(ca)},
        {"pin": pin},
        {"ca_cert": str(ca), "pin": f"sha256:{colons}"},
    ]
    for files in choices:
        client = Client(script.url, tls=TlsFiles(**files))
        assert client.request("GET", "/").status == 200
        client.close()


def test_tls_strangers_are_refused_before_a_byte_is_sent(tls: tuple[Script, Path, str]) -> None:
    script, _, pin = tls
    script.start([OK], [OK])
    with pytest.raises(Unreachable, match="handshake"):
        Client(script.url).request("GET", "/")
    with pytest.raises(Unreachable, match="not the pinned one") as caught:
        Client(script.url, tls=TlsFiles(pin="00" * 32)).request("GET", "/")
    assert pin in (caught.value.hint or "")
    assert script.requests == []


def test_tls_files_that_can_not_be_read_are_named(tls: tuple[Script, Path, str]) -> None:
    script, ca, _ = tls
    script.start([OK])
    with pytest.raises(Misconfigured, match=r"nothing\.pem"):
        Client(script.url, tls=TlsFiles(ca_cert=str(ca.parent / "nothing.pem"))).request("GET", "/")
