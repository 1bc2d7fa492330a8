"""The embedder: near the float32 model, the same vector every time, and clear about files that are not right."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from aimem.errors import Misconfigured
from aimem.limits import PIECES_MAX
from aimem.recall.embedder import Embedder

FLOAT32 = json.loads((Path(__file__).parents[1] / "data" / "minilm_float32.json").read_text(encoding="utf-8"))
LONG = " ".join(
    f"The disk of host {number} in rack {number % 7} was replaced after a failure." for number in range(900)
)


def stored(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(FLOAT32[text]), dtype="<f2").astype(np.float32)


def test_stored_vectors_are_those_of_the_published_model() -> None:
    """The first numbers that the model's authors print for their two example sentences."""
    first = stored("This is an example sentence")[:3]
    second = stored("Each sentence is converted")[:3]
    assert np.allclose(first, [0.06765692, 0.06349596, 0.0487131], atol=1e-4)
    assert np.allclose(second, [0.0864386, 0.10276266, 0.00539444], atol=1e-4)


@pytest.mark.parametrize("text", list(FLOAT32))
def test_near_the_float32_model(embedder: Embedder, text: str) -> None:
    assert float(embedder.embed(text)[0] @ stored(text)) > 0.98


def test_meaning_is_nearer_than_words(embedder: Embedder) -> None:
    question = embedder.embed_query("Why did the computers lose electricity?")
    near, far = "Rack seven went off when a breaker tripped.", "Why people lose their keys"
    assert float(question @ embedder.embed(near)[0]) > float(question @ embedder.embed(far)[0])


def test_shape_length_and_pieces(embedder: Embedder) -> None:
    for text, pieces in (("", 1), ("one", 1), (LONG[:4_000], None), (LONG, PIECES_MAX)):
        vectors = embedder.embed(text)
        assert vectors.dtype == np.float32
        assert vectors.shape[1] == embedder.dims == 384
        assert pieces is None or len(vectors) == pieces
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_long_question_counts_by_its_beginning(embedder: Embedder) -> None:
    assert np.array_equal(embedder.embed_query(LONG), embedder.embed(LONG)[0])


def test_same_text_same_vector_from_any_thread(embedder: Embedder) -> None:
    texts = [LONG[start : start + 20 * start + 30] for start in range(24)]
    alone = [embedder.embed(text) for text in texts]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(embedder.embed, texts))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


def test_loads_once_at_the_first_text(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = Embedder(model_folder)
    loads: list[int] = []
    load = fresh._load_session

    def counted() -> object:
        loads.append(threading.get_ident())
        return load()

    monkeypatch.setattr(fresh, "_load_session", counted)
    assert loads == []
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(fresh.embed, ["a", "b", "c"]))
    assert len(loads) == 1


@pytest.mark.parametrize("name", ["model.json", "model.onnx", "vocab.txt"])
@pytest.mark.parametrize("damage", ["missing", "cut", "changed"])
def test_files_that_are_not_right(model_folder: Path, tmp_path: Path, name: str, damage: str) -> None:
    shutil.copytree(model_folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / name
    data = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "changed":
        path.write_bytes(b"[]" if name == "model.json" else data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    with pytest.raises(Misconfigured, match=name) as caught:
        Embedder(tmp_path).load()
    assert str(tmp_path) in caught.value.message
    assert caught.value.hint is not None
    assert "keyword" in caught.value.hint


def test_the_engine_reports_nothing_and_leaves_nothing_at_home(model_folder: Path, tmp_path: Path) -> None:
    program = "import sys, time, pathlib; from aimem.recall.embedder import Embedder\n"
    program += "Embedder(pathlib.Path(sys.argv[1])).embed('a text'); time.sleep(1)"
    line = [sys.executable, "-c", program, str(model_folder)]
    subprocess.run(line, check=True, env={**os.environ, "HOME": str(tmp_path)}, cwd=Path(__file__).parents[2])
    assert list(tmp_path.iterdir()) == []
