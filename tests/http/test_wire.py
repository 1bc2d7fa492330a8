"""The API over a real socket: what only a connection shows. How bytes become requests is tested in tests/net."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from aimem.limits import BODY_BYTES_MAX

from .processes import call, serving

PLAIN = {"title": "A", "content": "x"}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serving("--db", str(tmp_path_factory.mktemp("node") / "a.db")) as (_, port):
        yield port


def test_a_version_travels_in_etag_and_if_match(port: int) -> None:
    stored = call(port, "POST", "/memories", {**PLAIN, "title": "versions"})
    path = f"/memories/{stored.json()['id']}"
    assert call(port, "GET", path).headers["etag"] == stored.headers["etag"]
    changed = call(port, "PUT", path, {"content": "1"}, {"If-Match": stored.headers["etag"]})
    assert changed.status == 200
    stale = call(port, "DELETE", path, headers={"If-Match": stored.headers["etag"]})
    assert (stale.status, stale.json()["current"]) == (409, changed.json()["version"])
    assert call(port, "DELETE", path, headers={"If-Match": changed.headers["etag"]}).status == 200


@pytest.mark.parametrize("key", ["k-1", "schlüssel 鍵", "k" * 255, "ü" * 127])
def test_an_idempotency_key_is_any_printable_utf8(port: int, key: str) -> None:
    body = {**PLAIN, "title": f"once {key}"}
    first, again = (call(port, "POST", "/memories", body, {"Idempotency-Key": key.encode()}) for _ in range(2))
    assert (first.status, again.json()) == (201, first.json())
    assert again.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("key", [b"k" * 256, b"\xff", "a\u200bb".encode(), "\u202e".encode()])
def test_another_idempotency_key_is_refused(port: int, key: bytes) -> None:
    assert call(port, "POST", "/memories", PLAIN, {"Idempotency-Key": key}).json()["code"] == "invalid"


def test_a_request_has_an_id_its_own_or_the_callers(port: int) -> None:
    assert call(port, "GET", "/health", headers={"X-Request-Id": "mine-7"}).headers["x-request-id"] == "mine-7"
    made = [call(port, "GET", "/health", headers={"X-Request-Id": "no id\x09"}).headers["x-request-id"] for _ in "ab"]
    assert made[0] != made[1]
    assert all(re.fullmatch(r"[0-9a-f]+-[0-9a-f]+", each) for each in made)


def test_head_is_get_without_a_body(port: int) -> None:
    get, head = call(port, "GET", "/stats"), call(port, "HEAD", "/stats")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert head.headers["content-length"] == str(len(get.body))


def test_a_body_over_the_bound_is_refused_and_the_node_goes_on(port: int) -> None:
    body = json.dumps({"memories": [{**PLAIN, "content": "x" * 60_000}] * 36}).encode()
    assert len(body) > BODY_BYTES_MAX
    reply = call(port, "POST", "/memories/bulk", body)
    assert (reply.status, reply.json()["code"]) == (413, "too_large")
    assert call(port, "GET", "/health").status == 200


def test_replies_are_counted_by_status(port: int) -> None:
    assert call(port, "GET", "/memories/nobody").status == 404
    page = call(port, "GET", "/metrics").body.decode()
    assert re.search(r'^aimem_http_replies_total\{status="404"\} [1-9]', page, re.MULTILINE)
    assert re.search(r"^aimem_http_request_seconds_count [1-9]", page, re.MULTILINE)
    assert re.search(r"^aimem_http_sent_bytes_total [1-9]", page, re.MULTILINE)
    assert re.search(r"^aimem_http_connections 1$", page, re.MULTILINE)


def test_the_metrics_page_is_in_the_text_format(port: int) -> None:
    """Each metric has its help and type once, before its samples, which stand together."""
    page = call(port, "GET", "/metrics").body.decode()
    assert page.endswith("\n")
    current, seen = "", set()
    for line in page.splitlines():
        if match := re.fullmatch(r"# HELP ([a-z_]+) \S.*", line):
            current = match[1]
            assert current not in seen
            seen.add(current)
        elif match := re.fullmatch(r"# TYPE ([a-z_]+) (counter|gauge|histogram)", line):
            assert match[1] == current
            assert (match[2] == "counter") == current.endswith("_total")
        else:
            match = re.fullmatch(r'([a-z_]+)(\{[a-z]+="[^"\\]*"(,[a-z]+="[^"\\]*")*\})? -?[0-9.e+-]+', line)
            assert match, line
            assert match[1].removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") == current
            assert not {"namespace", "agent"} & set(re.findall(r"([a-z_]+)=", match[2] or ""))
