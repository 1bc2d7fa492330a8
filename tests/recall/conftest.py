"""The model that these tests read: built once, by `scripts/model`."""

from __future__ import annotations

from pathlib import Path

import pytest

from aimem.recall.embedder import Embedder

MODEL = Path(__file__).resolve().parents[2] / "build" / "model"


@pytest.fixture(scope="session")
def model_folder() -> Path:
    if not (MODEL / "model.json").exists():
        pytest.fail(f"{MODEL} is missing: scripts/test builds it, with scripts/model")
    return MODEL


@pytest.fixture(scope="session")
def embedder(model_folder: Path) -> Embedder:
    return Embedder(model_folder)
