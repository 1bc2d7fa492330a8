"""The architecture, as the imports have it: only downwards, and `core/` stays pure."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "aimem"
LAYERS = ("cli", "http", "mesh", "node", "recall", "store", "net", "core")
"""From faces to rules: a line may import itself and those to its right."""
EVERYWHERE = {"aimem", "aimem.errors", "aimem.limits"}
BESIDE: dict[str | None, set[str]] = {"config": {"core"}, "unpack": set()}
"""What lies beside the layers, with the layers that it may use: the faces may import it."""
PURE = {
    *("__future__", "base64", "bisect", "collections", "dataclasses", "datetime", "enum", "functools", "hashlib"),
    *(
        "heapq",
        "hmac",
        "ipaddress",
        "itertools",
        "json",
        "math",
        "operator",
        "re",
        "string",
        "struct",
        "typing",
        "unicodedata",
        "uuid",
    ),
    *("collections.abc", "urllib.parse"),
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), ast.parse(path.read_text())


def imported(tree: ast.Module) -> Iterator[str]:
    """Every module that is named in an import, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they lead"
            assert node.module is not None
            yield node.module
            if node.module == "aimem":
                yield from (f"aimem.{alias.name}" for alias in node.names if not alias.name.startswith("__"))


def layer(module: str) -> str | None:
    return room if (room := room_of(module)) in LAYERS else None


def room_of(module: str) -> str | None:
    """The folder or module right under `aimem` that it is in."""
    return module.split(".")[1] if "." in module else None


def is_allowed(importer: str, name: str) -> bool:
    if not name.startswith("aimem") or name in EVERYWHERE:
        return True
    here, there = layer(importer), layer(name)
    if here is None:
        return there is None or importer == "aimem.__main__" or there in BESIDE.get(room_of(importer), set())
    if there is None:
        return room_of(name) in BESIDE and here in ("cli", "http")
    return LAYERS.index(here) <= LAYERS.index(there)


@pytest.mark.parametrize(("module", "tree"), [pytest.param(name, tree, id=name) for name, tree in modules()])
def test_imports_go_downwards_only(module: str, tree: ast.Module) -> None:
    assert [name for name in imported(tree) if not is_allowed(module, name)] == []


@pytest.mark.parametrize(
    ("module", "tree"), [pytest.param(name, tree, id=name) for name, tree in modules() if layer(name) == "core"]
)
def test_core_is_pure(module: str, tree: ast.Module) -> None:
    foreign = [name for name in imported(tree) if not name.startswith("aimem") and name not in PURE]
    assert foreign == []
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"open", "print", "input", "exec", "eval", "__import__"}


def test_an_upward_import_would_be_seen() -> None:
    assert not is_allowed("aimem.core.merge", "aimem.store.base")
    assert not is_allowed("aimem.store.base", "aimem.node.node")
    assert not is_allowed("aimem.net.server", "aimem.http.app")
    assert not is_allowed("aimem.errors", "aimem.core.record")
    assert not is_allowed("aimem.config.serve", "aimem.store.base")
    assert not is_allowed("aimem.node.node", "aimem.config.settings")
    assert is_allowed("aimem.config.serve", "aimem.core.memory")
    assert is_allowed("aimem.cli.serve", "aimem.http.app")


def test_nothing_outside_the_standard_library_is_imported_by_core() -> None:
    assert set(sys.stdlib_module_names) | {"collections.abc", "urllib.parse"} >= PURE
