"""Connections to receivers of webhooks: one look-up of a name, every address of it judged, none looked up again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import pytest

from aimem.errors import Unreachable
from aimem.net.hook import HookLink

LOOPBACK = (ip_network("127.0.0.0/8"),)  # as an operator may let webhooks into a network


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[int, list[str]]]:
    """A port of loopback on which somebody listens, and what connected to it."""
    came: list[str] = []

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(writer.get_extra_info("sockname")[0])
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], came


def leading(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Has the name service give these addresses, one answer a look-up; the names that were looked up."""
    asked: list[str] = []

    def found(host: str, port: int, *args: Any, **more: Any) -> list[Any]:
        asked.append(host)
        addresses = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    return asked


async def test_a_name_is_looked_up_once_and_the_connection_goes_to_that_address(
    monkeypatch: pytest.MonkeyPatch, receiver: tuple[int, list[str]]
) -> None:
    """A name that means another machine a moment later leads nowhere else."""
    port, came = receiver
    asked = leading(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    link = await HookLink.reach(f"http://hooks.example.net:{port}/x", LOOPBACK, None)
    link.close()
    assert asked == ["hooks.example.net"]
    while not came:
        await asyncio.sleep(0.001)
    assert came == ["127.0.0.1"]


async def test_one_private_address_among_several_is_enough_to_refuse(
    monkeypatch: pytest.MonkeyPatch, receiver: tuple[int, list[str]]
) -> None:
    port, came = receiver
    leading(monkeypatch, ["127.0.0.1", "10.0.0.1"])
    with pytest.raises(Unreachable, match=r"10\.0\.0\.1, an address of a private network"):
        await HookLink.reach(f"http://hooks.example.net:{port}/x", LOOPBACK, None)
    assert came == []


async def test_the_name_of_this_machine_leads_to_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    leading(monkeypatch, ["93.184.216.34"])
    with pytest.raises(Unreachable, match=r"93\.184\.216\.34"):
        await HookLink.reach("http://localhost:9/x", LOOPBACK, None)
