"""The embedding model: text in, unit vectors out.

A text gives one vector per piece (see `pieces`), always from a run of its own: int8 activations are scaled over a
whole run, so texts that shared one would change each other's vectors. The same text gives the same vectors on every
call, alone or beside others. Threads and priorities are not here but in `pool`.

The native packages must be importable before this module is: in the one-file program, the command unpacks them first.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aimem.errors import Misconfigured
from aimem.recall.pieces import cut
from aimem.recall.tokenizer import Tokenizer

Matrix = NDArray[np.float32]

_HINT = "unpack or build the model again (scripts/model), or serve without it: --tier keyword"


class _Engine(NamedTuple):
    """What is loaded at the first text: a third of a second, some 70 MB."""

    tokenizer: Tokenizer
    session: Any


class Embedder:
    """Reads `model.onnx`, `vocab.txt` and `model.json` of a folder. Safe to use from several threads.

    A missing or damaged file is `Misconfigured`: what `model.json` says is read here, the rest by `load`, which the
    first text calls.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._engine: _Engine | None = None
        try:
            description = json.loads(self._read("model.json"))
            self._id = str(description["id"])
            self._dims = int(description["dims"])
            self._tokens_max = int(description["tokens_max"])
            self._sha256 = {str(name): str(digest) for name, digest in description["sha256"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Misconfigured(f"{folder / 'model.json'} does not describe a model", hint=_HINT) from error

    @property
    def model_id(self) -> str:
        """Name and variant; vectors of different ids must not be compared."""
        return self._id

    @property
    def dims(self) -> int:
        """Numbers per vector."""
        return self._dims

    def load(self) -> None:
        """Checks the files against their hashes and loads them, once: worth doing before anybody waits for it."""
        self._ready()

    def embed(self, text: str, between: Callable[[], None] = lambda: None) -> Matrix:
        """One row per piece of the text, each of length 1. `between` is called before each piece: a place to wait."""
        engine = self._ready()
        rows = []
        for piece in self._pieces(engine, text):
            between()
            rows.append(self._run(engine, piece))
        return np.stack(rows)

    def embed_query(self, text: str) -> Matrix:
        """One vector of length 1. Of a question longer than the model reads, the beginning counts."""
        engine = self._ready()
        return self._run(engine, self._pieces(engine, text)[0])

    def _pieces(self, engine: _Engine, text: str) -> list[list[int]]:
        tokenizer = engine.tokenizer
        return cut(tokenizer.encode(text), self._tokens_max, tokenizer.start, tokenizer.end)

    def _run(self, engine: _Engine, piece: list[int]) -> Matrix:
        vector: Matrix = engine.session.run(["vector"], {"ids": np.array([piece], dtype=np.int64)})[0][0]
        return vector

    def _ready(self) -> _Engine:
        with self._lock:
            if self._engine is None:
                self._engine = _Engine(self._load_tokenizer(), self._load_session())
            return self._engine

    def _load_tokenizer(self) -> Tokenizer:
        self._check("vocab.txt")
        return Tokenizer(self._read("vocab.txt").decode().splitlines())

    def _load_session(self) -> Any:
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # else it keeps a database in the home directory, and reports
        try:
            import onnxruntime
        except ImportError as error:
            raise Misconfigured(f"onnxruntime can't be imported: {error}", hint="serve with --tier keyword") from error
        self._check("model.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_mem_pattern = False  # it would keep a plan for every length of text
        options.log_severity_level = 3
        path = str(self._folder / "model.onnx")  # by name, not as bytes: 25 MB less stay resident
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def _check(self, name: str) -> None:
        """A damaged model would still give vectors, and wrong ones would spread: so every load checks the hash."""
        try:
            with open(self._folder / name, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise self._unreadable(name, error) from error
        if digest != self._sha256.get(name):
            raise Misconfigured(f"{self._folder / name} is damaged: its SHA-256 is not the model's", hint=_HINT)

    def _read(self, name: str) -> bytes:
        try:
            return (self._folder / name).read_bytes()
        except OSError as error:
            raise self._unreadable(name, error) from error

    def _unreadable(self, name: str, error: OSError) -> Misconfigured:
        return Misconfigured(f"{self._folder / name} can't be read: {error.strerror}", hint=_HINT)
