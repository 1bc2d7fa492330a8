"""What the one file carries beside pure Python: native packages, the model, licences. Unpacked once, on demand.

Parts lie in `carried.zip` inside the file, each file once under the hash of its content. `carried.json` beside it has
the files of each part, and is all that is read where a part is unpacked already. A part is unpacked to
`<cache>/<hash of its index>/`: made beside it and renamed into place, so it is whole or not there, and two processes
that start at once do no harm. In a source checkout there is nothing to unpack. Only the standard library is imported
here.

A process holds a shared lock on the file `.in-use` of each part that it uses, for as long as it lives, and sets its
time. A part that no other process holds, unused for a month, is removed by the next start of any aimem; a folder
without that file is not ours to remove.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aimem.errors import DiskFull, Misconfigured

if TYPE_CHECKING:
    import zipfile

MEANING_PACKAGES = ("numpy", "onnxruntime")
TLS_PACKAGES = ("cryptography", "OpenSSL")
POSTGRES_PACKAGES = ("psycopg", "psycopg_pool", "pgvector")
_LOADED_AT_ONCE = {"numpy": "numpy.ma", "OpenSSL": "OpenSSL.SSL", "psycopg": "psycopg.pq"}
"""What a package imports at first use only, when a cleaner may have taken the folder."""
_CARRIED, _INDEX = "carried.zip", "carried.json"
_SHARED = Path("/var/tmp")  # noqa: S108 - what lies in it is used only after `_check_trusted`
_UNFINISHED = ".unpacking-"
_ABANDONED_SECS = 24 * 3600  # a killed process leaves its half; nobody takes a day to unpack
_PART = 32 * "[0-9a-f]"
_IN_USE = ".in-use"
_UNUSED_SECS = 30 * 24 * 3600  # of a build that was replaced: who goes back to it within this finds it unpacked
_chosen: Path | None = None
_held: dict[Path, int] = {}  # open files with the locks of this process


def set_cache_dir(path: Path) -> None:
    """Unpack to this folder, and nowhere else."""
    global _chosen
    _chosen = path


def native(packages: tuple[str, ...] = MEANING_PACKAGES) -> None:
    """Make native packages importable; these are looked for.

    Raises:
        Misconfigured: they are not carried for this Python, or the cache directory can't hold them.
    """
    if archive() is None:
        missing = [name for name in packages if find_spec(name) is None]
        if missing:
            raise Misconfigured(f"{', '.join(missing)} can't be imported", hint=_without("install what is missing"))
        return
    name = f"native-{sys.implementation.name}-{sys.version_info[0]}.{sys.version_info[1]}-{_machine()}"
    if name not in (parts := _index()):
        carried = ", ".join(sorted(part.removeprefix("native-") for part in parts if part.startswith("native-")))
        raise Misconfigured(
            f"this file carries no native parts for {name.removeprefix('native-')}, only for {carried}",
            hint=_without("run it with one of those"),
        )
    folder = str(_unpacked(name, executable=True))
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        for name in _LOADED_AT_ONCE.keys() & set(packages):
            import_module(_LOADED_AT_ONCE[name])
    except ImportError as error:
        raise Misconfigured(
            f"the native parts in {folder} can't be loaded: {error}", hint=_without("they need glibc on x86-64")
        ) from error


def _without(first: str) -> str:
    return f"{first}, or do without them: --tier keyword, no TLS, and no --store-url"


def _machine() -> str:
    return os.uname().machine


def model_dir() -> Path:
    """The folder with the embedding model.

    Raises:
        Misconfigured: there is none, or the cache directory can't hold it.
    """
    if archive() is not None:
        return _unpacked("model", executable=False)
    built = Path(__file__).resolve().parent.parent / "build" / "model"
    if not (built / "model.onnx").exists():
        raise Misconfigured(f"there is no model in {built}", hint="run scripts/build, or serve with --tier keyword")
    return built


def licenses() -> str:
    """The licences of everything that the file carries."""
    with _carried() as carried:
        if carried is not None:
            return carried.read("licenses.txt").decode()
    licence = Path(__file__).resolve().parent.parent / "LICENSE"
    return f"aimem (a source checkout: the built file prints what it carries)\n\n{licence.read_text()}"


def archive() -> Path | None:
    """The file that this program runs from, None for a source checkout."""
    found = getattr(globals()["__loader__"], "archive", None)  # a zip importer's, and only its
    return Path(found) if found else None


@contextmanager
def _carried() -> Iterator[zipfile.ZipFile | None]:
    path = archive()
    if path is None:
        yield None
        return
    import zipfile

    with zipfile.ZipFile(path) as outer, outer.open(_CARRIED) as inner, zipfile.ZipFile(inner) as carried:
        yield carried


@lru_cache(1)
def _index() -> dict[str, Any]:
    """Per part: the `hash` of its list of files, and `files`: by path the hash of the content."""
    importer = globals()["__loader__"]  # knows where everything lies, while a ZipFile would read all names again
    found: dict[str, Any] = json.loads(importer.get_data(f"{importer.archive}{os.sep}{_INDEX}"))
    return found


def _unpacked(part: str, *, executable: bool) -> Path:
    """The folder of a part, unpacked if it was not yet."""
    described = _index()[part]
    refused: list[str] = []
    for cache in _caches():
        try:
            return _unpack_to(cache, described, executable=executable)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(
                    f"no room to unpack {part} in {cache}", hint="free some space, or name --cache-dir"
                ) from error
            refused.append(f"{cache}: {error.strerror or error}")
    raise Misconfigured(
        f"{part} can't be unpacked: {'; '.join(refused)}",
        hint=_without("name a folder that this user may write and execute from with --cache-dir"),
    )


def _unpack_to(cache: Path, described: dict[str, Any], *, executable: bool) -> Path:
    target: Path = cache / described["hash"][:32]
    if not target.is_dir():
        os.makedirs(cache.parent, exist_ok=True)
        with suppress(FileExistsError):
            os.mkdir(cache, 0o700)
    _check_trusted(cache)
    if executable and os.statvfs(cache).f_flag & os.ST_NOEXEC:
        raise OSError(errno.EACCES, "mounted noexec, so native parts can't be loaded from it")
    files: dict[str, str] = described["files"]
    if not (_hold(target) and _is_whole(target, files)):
        _unpack_into(target, files)
        _hold(target)
    _remove_unused(cache)
    return target


def _unpack_into(target: Path, files: dict[str, str]) -> None:
    """Make a part's folder, in the place of one that has lost files."""
    with _own_folder(target.parent) as made:
        try:
            _write_files(files, made / "part")
            if target.is_dir() and not _is_whole(target, files):
                os.rename(target, made / "replaced")
            os.rename(made / "part", target)
        except OSError:
            if not _is_whole(target, files):
                raise
            # else another process was faster


@contextmanager
def _own_folder(cache: Path) -> Iterator[Path]:
    """A folder for what is not whole yet, or no longer; what is in it at the end is removed."""
    made = cache / f"{_UNFINISHED}{os.urandom(8).hex()}"
    made.mkdir()
    try:
        yield made
    finally:
        import shutil

        shutil.rmtree(made, ignore_errors=True)


def _hold(part: Path) -> bool:
    """Let nobody remove a part while this process lives. Whether it is there."""
    marker = part / _IN_USE
    handle = _opened(marker)
    if handle is None:
        return part.is_dir()  # somebody else's, never marked: its owner's starts don't remove it
    with suppress(OSError):  # a file system without locks: then its time alone counts
        fcntl.flock(handle, fcntl.LOCK_SH)
    with suppress(OSError):  # only its owner may set it
        os.utime(handle)
    with suppress(OSError):
        if os.path.samestat(os.fstat(handle), os.stat(marker)):
            if (before := _held.pop(part, None)) is not None:
                os.close(before)
            _held[part] = handle
            return True
    os.close(handle)  # it was being removed
    return False


def _opened(marker: Path) -> int | None:
    """The marker of a part, made where it may be."""
    for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):
        with suppress(OSError):
            return os.open(marker, flags | os.O_NOFOLLOW, 0o644)
    return None


def _remove_unused(cache: Path) -> None:
    """Remove parts that nobody has used for long, and what killed processes left half done."""
    now = time.time()
    with suppress(OSError):  # to look after the cache is no condition for a start
        for marker in cache.glob(f"{_PART}/{_IN_USE}"):
            if marker.stat().st_mtime < now - _UNUSED_SECS:
                _remove(marker)
        for left in cache.glob(f"{_UNFINISHED}*"):
            if left.stat().st_mtime < now - _ABANDONED_SECS:
                import shutil

                shutil.rmtree(left, ignore_errors=True)


def _remove(marker: Path) -> None:
    """Remove a part unless a process holds it. It goes in one step, so no start finds it half."""
    handle = os.open(marker, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_mtime < time.time() - _UNUSED_SECS:
            with _own_folder(marker.parent.parent) as made:
                os.rename(marker.parent, made / "unused")
    except BlockingIOError:
        pass  # in use
    finally:
        os.close(handle)


def _is_whole(folder: Path, files: dict[str, str]) -> bool:
    """Whether a part has all its files: what cleans /var/tmp and caches takes old files one by one."""
    return all(os.path.isfile(f"{folder}/{name}") for name in files)


def _write_files(files: dict[str, str], folder: Path) -> None:
    """Write the files of a part, on the disk when this returns: after a power cut a folder that is there is whole."""
    with _carried() as carried:
        assert carried is not None
        for name, content in files.items():
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(carried.read(content))
    for name in files:
        with (folder / name).open("rb") as file:
            os.fsync(file.fileno())


def _check_trusted(cache: Path) -> None:
    """Code is loaded from here. A folder beside everybody's must be ours alone; one that was named may be root's too,
    and be read by others, who may not write to it.

    Raises:
        OSError: it is not.
    """
    shared = cache.parent == _SHARED
    found = os.lstat(cache) if shared else os.stat(cache)
    if not stat.S_ISDIR(found.st_mode):
        raise OSError(errno.ENOTDIR, "it is no folder")
    owners, closed = ((os.geteuid(),), 0o077) if shared else ((os.geteuid(), 0), stat.S_IWOTH)
    if found.st_uid not in owners or found.st_mode & closed:
        raise OSError(errno.EPERM, "it belongs to another user, or others may write to it")


def _caches() -> Iterator[Path]:
    """Where to unpack: the folder that was named, and then no other; else the user's cache, else one in /var/tmp."""
    named = _chosen or os.environ.get("AIMEM_CACHE_DIR") or os.environ.get("CACHE_DIRECTORY", "").split(":")[0]
    if named:
        yield Path(named)
        return
    home = os.environ.get("HOME")
    if user := os.environ.get("XDG_CACHE_HOME") or (home and os.path.join(home, ".cache")):
        yield Path(user) / "aimem"
    yield _SHARED / f"aimem-{os.geteuid()}"
