"""A program with a planted bug: a copy of the one file in which a patch, of `tests/mutants` say, replaces modules."""

from __future__ import annotations

import py_compile
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path


def planted(program: Path, patch: Path, root: Path, out: Path) -> Path:
    """`program` with `patch` applied to the sources of the tree at `root`; written to `out`.

    Raises:
        SystemExit: the patch does not apply.
    """
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        shutil.copytree(root / "aimem", tree / "aimem")
        apply = ["git", "apply", "--whitespace=nowarn", "--include=aimem/*", str(patch.resolve())]
        done = subprocess.run(apply, cwd=tree, capture_output=True, text=True)
        modules = [path.relative_to(tree) for path in tree.rglob("*.py")]
        changed = [module for module in modules if (tree / module).read_bytes() != (root / module).read_bytes()]
        if done.returncode or not changed:
            raise SystemExit(f"chaos: {patch} does not apply to {root}: {done.stderr.strip()}")
        return overlaid(program, tree, changed, out)


def overlaid(program: Path, tree: Path, modules: Iterable[Path], out: Path) -> Path:
    """`program` with these modules as a tree has them, for this very interpreter; written to `out`."""
    shutil.copy2(program, out)
    place = f"python{sys.version_info.major}{sys.version_info.minor}"
    with zipfile.ZipFile(out, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the name is there already: the later one is what is imported
        for module in modules:
            compiled = tree / module.with_suffix(".pyc")
            mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
            py_compile.compile(str(tree / module), str(compiled), doraise=True, invalidation_mode=mode)
            archive.write(compiled, f"{place}/{module.with_suffix('.pyc')}")
    return out
