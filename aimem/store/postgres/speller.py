"""The words of what is loaded are spelled by a process beside this one: on the other core, where there is one.

It is sent texts, some at a time, and answers with the lines that COPY takes. Its input ends with this process, however
that ends, and it ends with its input. Where it can't be started, or is gone, its work is done here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import aimem
from aimem.limits import LOAD_PIPE_BYTES, LOAD_SPELL_BESIDE
from aimem.store.postgres.spelling import SIZE_BYTES, Text, lines

log = logging.getLogger(__name__)

_SERVE = "import sys; sys.path.insert(0, sys.argv[1]); from aimem.store.postgres.spelling import serve; serve()"
_PLACE = str(Path(aimem.__file__).parents[1])  # a folder, or a path in the one file


Spelled = Callable[[], asyncio.Future[bytes]]
"""Asked for the lines when they are needed; who is cancelled then, or never asks, disturbs nothing."""


class Speller:
    """Spells, from the first longer list of texts on by a process, until it is closed."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._wanted = True
        self._asking = asyncio.Lock()  # who asks first is answered first: these locks are fair
        self._answering = asyncio.Lock()

    def begin(self, texts: Sequence[Text]) -> Spelled:
        """Have texts spelled."""
        task = asyncio.create_task(self._lines(texts))
        return lambda: asyncio.shield(task)

    async def _lines(self, texts: Sequence[Text]) -> bytes:
        if self._wanted and (self._process or len(texts) >= LOAD_SPELL_BESIDE):
            try:
                return await self._spelled_beside(texts)
            except (OSError, asyncio.IncompleteReadError) as error:
                log.warning("the process that spells words is gone, this one does its work: %s", error)
                await self.close()
        return lines(texts)

    async def _spelled_beside(self, texts: Sequence[Text]) -> bytes:
        """The answer to the list before may still be on its way: the process is asked while it has work left."""
        async with self._asking:
            if not self._wanted:
                return lines(texts)
            process = self._process = self._process or await _started()
            asked, answered = process.stdin, process.stdout
            assert asked is not None
            assert answered is not None
            asked.write(pickle.dumps(texts))
            await asked.drain()
            await self._answering.acquire()
        try:
            size = await answered.readexactly(SIZE_BYTES)
            return await answered.readexactly(int.from_bytes(size, "big"))
        finally:
            self._answering.release()

    async def close(self) -> None:
        """End the process. What is still to be spelled is spelled here."""
        self._wanted = False
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _started() -> asyncio.subprocess.Process:
    """The process, with a pipe that an answer fits into where the system allows that: this process is busy, and would
    take it out in many turns."""
    start = partial(
        asyncio.create_subprocess_exec,
        *(sys.executable, "-I", "-c", _SERVE, _PLACE),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # an interrupt at the terminal is for the command alone
    )
    try:
        return await start(pipesize=LOAD_PIPE_BYTES)
    except PermissionError:
        return await start()
