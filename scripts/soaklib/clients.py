"""Clients that store, update, delete, recall and read in a closed loop, and hold every reply against what they know.

Each has some hundred titles of its own, so that the number of memories stays the same however long they go on, and
deleted ones are stored again. The same seed asks the same things in the same order.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from benchlib.texts import Texts

from soaklib.ledger import Ledger

NAMESPACE = "soak"
TITLES = 400  # of one client
_QUESTION_WORDS = 6
_SHORT_SECS = 3_600  # the life of what is stored to expire
_SHORT = {"tier": "short", "ttl_secs": _SHORT_SECS, "namespace": f"{NAMESPACE}/brief"}


@dataclass(frozen=True)
class Mix:
    """How often of a hundred requests; the rest are reads of one memory. `pause` is in s, between two requests."""

    change: int
    brief: int
    recall: int
    pause: float = 0.0


class Client(threading.Thread):
    """One of them. `wrong` is what it saw that must not be, `cut` whether the node went away under a request."""

    def __init__(self, name: str, port: int, ledger: Ledger, seed: str, mix: Mix, now: Callable[[], int]) -> None:
        super().__init__(name=name, daemon=True)
        self.wrong: list[str] = []
        self.cut = False
        self.seconds: dict[str, list[float]] = {"store": [], "recall": []}
        self.stopped = threading.Event()
        self._ledger, self._mix, self._now = ledger, mix, now
        self._chance = random.Random(f"{seed} {name}")
        self._texts = Texts(self._chance.randrange(2**32))
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def run(self) -> None:
        try:
            while not self.stopped.is_set():
                self._one()
                self.stopped.wait(self._mix.pause)
        except (OSError, http.client.HTTPException):
            self.cut = True
        except Exception as err:  # a client that ends unseen would make the rest of the run worth nothing
            self.wrong.append(f"client {self.name}: {err!r}")
        finally:
            self._connection.close()

    def _one(self) -> None:
        drawn = self._chance.randrange(100)
        if drawn < self._mix.change:
            self._change(self._any_title())
        elif drawn < self._mix.change + self._mix.brief:
            self._brief()
        elif drawn < self._mix.change + self._mix.brief + self._mix.recall:
            self._recall()
        else:
            self._read(self._any_title())

    def _any_title(self) -> str:
        return f"{self.name} {self._chance.randrange(TITLES)}"

    def _change(self, title: str) -> None:
        """Store what is not there; update or delete what is."""
        content, delete = self._texts.content(), self._chance.random() < 0.5
        if self._ledger.known(title) is None:
            self._ledger.trying(title, content)
            self._ledger.ids[title] = self._store(title, content, tier="long")["id"]
            self._ledger.acknowledge(title, content)
        elif delete:
            self._ledger.trying(title, None)
            self._call("DELETE", f"/memories/{self._ledger.ids[title]}", None, 200)
            self._ledger.acknowledge(title, None)
        else:
            self._ledger.trying(title, content)
            self._call("PUT", f"/memories/{self._ledger.ids[title]}", {"content": content}, 200)
            self._ledger.acknowledge(title, content)

    def _brief(self) -> None:
        """Store what expires, some of it twice under one key: the repeat must be the same write."""
        title, content = f"{self.name} brief {self._chance.randrange(2**64):x}", self._texts.content()
        key = f"{self.name}-{self._chance.randrange(2**64):x}"
        until = self._now() + _SHORT_SECS * 10**9
        self._ledger.trying(title, content)
        made = self._store(title, content, key, **_SHORT)
        self._ledger.acknowledge(title, content, until)
        if self._chance.random() < 0.1:
            again = self._store(title, content, key, **_SHORT)
            if again["version"] != made["version"]:
                self.wrong.append(f"{title!r} was stored twice under one idempotency key")

    def _store(self, title: str, content: str, key: str = "", **more: object) -> Any:
        body = {"title": title, "content": content, "namespace": NAMESPACE, **more}
        began = time.perf_counter()
        made = self._call("POST", "/memories", body, 201, {"Idempotency-Key": key} if key else {})
        self.seconds["store"].append(time.perf_counter() - began)
        return made

    def _recall(self) -> None:
        """What is found of its own titles must be what it knows."""
        began = time.perf_counter()
        found = self._call("GET", f"/recall?context={quote(self._texts.content(_QUESTION_WORDS))}", None, 200)
        self.seconds["recall"].append(time.perf_counter() - began)
        for memory in found["memories"]:
            self._compare(memory)

    def _read(self, title: str) -> None:
        """One of its own by its id, also when it is deleted."""
        if title in self._ledger.ids:
            there = self._ledger.known(title) is not None
            reply = self._call("GET", f"/memories/{self._ledger.ids[title]}", None, 200 if there else 404)
            if there:
                self._compare(reply["memory"])

    def _compare(self, memory: Any) -> None:
        title = memory["title"]
        if title.startswith(f"{self.name} ") and memory["content"] != self._ledger.known(title):
            self.wrong.append(f"{title!r} was returned with a body that is not the last one acknowledged")

    def _call(self, method: str, path: str, body: object, status: int, more: dict[str, str] | None = None) -> Any:
        """One request. A reply of another status is noted, and fails this client."""
        headers = {"Content-Type": "application/json", **(more or {})}
        self._connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), headers)
        reply = self._connection.getresponse()
        text = reply.read()
        if reply.status != status:
            raise AssertionError(f"{method} {path}: {reply.status} instead of {status}: {text[:200]!r}")
        return json.loads(text)


class Load:
    """All clients, running."""

    def __init__(self, clients: Sequence[Client]) -> None:
        self.clients = clients
        for client in clients:
            client.start()

    def percentiles(self, what: str) -> tuple[float, float]:
        """p50 and p99, in ms, of what was done since they were last asked for; zero when nothing was."""
        taken: list[float] = []
        for client in self.clients:
            taken += client.seconds[what]
            client.seconds[what] = []  # one that is added in between is missed: it is one of thousands
        taken.sort()
        return (taken[len(taken) // 2] * 1e3, taken[len(taken) * 99 // 100] * 1e3) if taken else (0.0, 0.0)

    def join(self) -> list[str]:
        """Wait for their end: what they saw that must not be."""
        for client in self.clients:
            client.join()
        return [words for client in self.clients for words in client.wrong]

    def stop(self) -> list[str]:
        """Let them end what they are at. That the node goes away meanwhile must not be either."""
        for client in self.clients:
            client.stopped.set()
        wrong = self.join()
        return wrong + [f"client {client.name} was cut off" for client in self.clients if client.cut]
