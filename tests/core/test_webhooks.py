"""Where a webhook may lead."""

from __future__ import annotations

import pytest

from aimem.core.webhooks import check_webhook_url
from aimem.errors import Invalid
from aimem.limits import WEBHOOK_URL_CHARS_MAX


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.net/x?y=1",
        "HTTPS://example.net:8443",
        "https://93.184.216.34/x",
        "https://[2606:2800:220:1::1]/x",
        "http://127.0.0.1:9/hook",
        "http://127.8.8.8/",
        "http://localhost:8080/x",
        "http://[::1]:80/",
        "https://localhost/",
        "https://my_host.example./",
    ],
)
def test_the_internet_by_https_and_this_machine_are_taken(url: str) -> None:
    assert check_webhook_url(url) == url


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "172.16.3.4",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "[fe80::1]",
        "[fc00::1]",
        "[ff02::1]",
        "[::]",
        "[::ffff:10.0.0.1]",
        "[64:ff9b::10.0.0.1]",
        "[2002:a00:1::1]",
        # As some resolvers read an address.
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "10.1",
        "010.0.0.1",
        "10.0.0.1.",
    ],
)
def test_private_networks_are_refused_however_they_are_written(host: str) -> None:
    with pytest.raises(Invalid):
        check_webhook_url(f"https://{host}/x")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.net",
        "ftp://example.net/",
        "file:///etc/passwd",
        "http://example.net/",
        "http://localhost.example.net/",
        "http://localhost@example.net/",
        "https://user:pw@example.net/",
        "https://example.net/#part",
        "https://exa mple.net/",
        "https://example.net/\r\nX: y",
        "https://example.net\\@10.0.0.1/",
        "https://example.net:port/",
        "https://[::1/",
        "https:///x",
        "https://exämple.net/",
        "https://-x/",
        "https://example.net/" + "x" * WEBHOOK_URL_CHARS_MAX,
    ],
)
def test_what_is_no_url_of_a_webhook_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        check_webhook_url(url)
