"""What the file carries is unpacked once, whole or not at all, and only where nobody else could have put code.

Mounts are real ones, in a mount namespace that ends with the command.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import PATIENCE_SECS

from .artifact import (
    CONFIGURATION,
    FILE,
    TRY_AGAIN,
    Command,
    done,
    remember_and_recall,
    run,
    serving,
)

NOBODY, SOMEBODY = 65534, 65533
AIMEM: Command = [sys.executable, "-I", FILE]
PART_NAME_LENGTH = 32
_MOUNTED = 'mount -t tmpfs -o "$1" none "$2"; shift 2; "$@"'


def check(tmp_path: Path, *flags: str | Path) -> Command:
    """The shortest command that unpacks everything."""
    return [*AIMEM, "serve", "--check", "--db", tmp_path / "a.db", *flags]


def parts() -> dict[str, dict[str, str]]:
    """The files with their hashes of each part that this Python needs, by the name of its folder."""
    with zipfile.ZipFile(FILE) as outer, outer.open("carried.zip") as inner, zipfile.ZipFile(inner) as carried:
        index: dict[str, Any] = json.loads(carried.read("index.json"))
    native = "native-cpython-{}.{}-x86_64".format(*sys.version_info)
    return {index[name]["hash"][:PART_NAME_LENGTH]: index[name]["files"] for name in ("model", native)}


def assert_whole(cache: Path) -> None:
    for name, files in parts().items():
        found = {
            path.relative_to(cache / name).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (cache / name).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts and path.name != ".in-use"
        }
        assert found == files


@pytest.fixture(scope="module")
def mounting() -> Callable[[str, Path], Command]:
    """The beginning of a command that sees a fresh file system, of the options and in the place named."""
    if subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode:
        pytest.skip("no right to mount")
    return lambda options, place: ["unshare", "--mount", "sh", "-c", _MOUNTED, "sh", options, place]


def test_two_first_starts_at_once_both_work_and_leave_one_folder_for_each_part(
    empty_cache: Path, tmp_path: Path
) -> None:
    starts = [
        subprocess.Popen(
            check(tmp_path, "--db", tmp_path / f"{each}.db", "--cache-dir", empty_cache),
            stderr=subprocess.PIPE,
            text=True,
            env={},
        )
        for each in range(2)
    ]
    for start in starts:
        _, said = start.communicate(timeout=PATIENCE_SECS)
        assert start.returncode == 0, said
    assert {path.name for path in empty_cache.iterdir()} == set(parts())
    assert_whole(empty_cache)


def killed_halfway(cache: Path, tmp_path: Path) -> Path:
    """The folder that a start was filling. One that was done before the kill came is tried again."""
    while True:
        start = subprocess.Popen(check(tmp_path, "--cache-dir", cache), env={})
        while not list(cache.glob(".unpacking-*/*")):
            assert start.poll() is None
            time.sleep(0.001)
        start.kill()
        start.wait()
        left = list(cache.iterdir())
        if len(left) == 1 and left[0].name.startswith(".unpacking-"):
            return left[0]
        shutil.rmtree(cache)


def test_what_a_killed_start_leaves_is_never_trusted_and_removed_in_the_end(empty_cache: Path, tmp_path: Path) -> None:
    half = killed_halfway(empty_cache, tmp_path)
    yesterday = time.time() - 25 * 3600
    os.utime(half, (yesterday, yesterday))
    young = empty_cache / ".unpacking-by-one-that-still-works"
    young.mkdir()
    done(check(tmp_path, "--cache-dir", empty_cache))
    assert {path.name for path in empty_cache.iterdir()} == {*parts(), young.name}
    assert_whole(empty_cache)


def test_parts_of_earlier_builds_are_removed_when_nobody_has_used_them_for_long(
    empty_cache: Path, tmp_path: Path
) -> None:
    """Those that were used lately, that a process holds, or that no aimem has marked, stay."""
    empty_cache.mkdir()
    month_ago = time.time() - 31 * 24 * 3600
    folders = {
        name: empty_cache / (str(number) * PART_NAME_LENGTH) for number, name in enumerate(("old", "new", "held"))
    }
    for folder in folders.values():
        folder.mkdir()
        (folder / "model.json").write_text("{}")
        (folder / ".in-use").touch()
    for name in ("old", "held"):
        os.utime(folders[name] / ".in-use", (month_ago, month_ago))
    foreign = empty_cache / ("a" * PART_NAME_LENGTH)
    foreign.mkdir()
    os.utime(foreign, (month_ago, month_ago))
    with (folders["held"] / ".in-use").open() as holder:
        fcntl.flock(holder, fcntl.LOCK_SH)
        done(check(tmp_path, "--cache-dir", empty_cache))
        assert {name for name, folder in folders.items() if folder.exists()} == {"new", "held"}
    done(check(tmp_path, "--cache-dir", empty_cache))
    assert {name for name, folder in folders.items() if folder.exists()} == {"new"}
    assert foreign.is_dir()
    assert_whole(empty_cache)


def test_a_running_node_holds_the_parts_that_it_uses(cache: Path, tmp_path: Path) -> None:
    markers = [cache / name / ".in-use" for name in parts()]
    with serving([*AIMEM, "serve", "--db", tmp_path / "a.db", "--cache-dir", cache]) as (_, url):
        done([*AIMEM, "status", "--to", url])
        for marker in markers:
            with marker.open() as other, pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            assert marker.stat().st_mtime > time.time() - 3600
    for marker in markers:
        with marker.open() as other:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_what_a_cleaner_of_old_files_left_is_made_whole_again(cache: Path, tmp_path: Path) -> None:
    done(check(tmp_path, "--cache-dir", cache))
    for name, files in parts().items():
        (cache / name / max(files)).unlink()
    done(check(tmp_path, "--cache-dir", cache))
    assert_whole(cache)
    assert not list(cache.glob(".*"))


def test_a_node_goes_on_when_its_cache_is_deleted(empty_cache: Path, tmp_path: Path) -> None:
    serve: Command = [*AIMEM, "serve", "--db", tmp_path / "a.db", "--cache-dir", empty_cache]
    with serving(serve) as (_, url):
        done([*AIMEM, "status", "--to", url, "--wait-embedded", "90"])
        shutil.rmtree(empty_cache)
        assert remember_and_recall(AIMEM, url)["mode"] == "hybrid"


@pytest.mark.parametrize("options", ["ro", "noexec"])
def test_a_cache_that_can_not_be_used_is_named(
    options: str, tmp_path: Path, mounting: Callable[[str, Path], Command]
) -> None:
    cache = tmp_path / "a cache"
    cache.mkdir()
    ended = run([*mounting(f"{options},mode=755", cache), *check(tmp_path, "--cache-dir", cache)], os.environ)
    assert ended.returncode == CONFIGURATION
    assert str(cache) in ended.stderr
    assert {"ro": "Read-only file system", "noexec": "mounted noexec"}[options] in ended.stderr
    assert "--cache-dir" in ended.stderr
    words: Command = [*check(tmp_path, "--cache-dir", cache), "--tier", "keyword"]
    done([*mounting(f"{options},mode=755", cache), *words], os.environ)


def test_what_was_unpacked_before_the_mount_became_noexec_is_not_tried(
    cache: Path, tmp_path: Path, mounting: Callable[[str, Path], Command]
) -> None:
    done(check(tmp_path, "--cache-dir", cache))
    remounted = 'mount --bind "$1" "$1" && mount -o remount,bind,noexec "$1"; shift; "$@"'
    command: Command = ["unshare", "--mount", "sh", "-c", remounted, "sh", cache]
    ended = run([*command, *check(tmp_path, "--cache-dir", cache)], os.environ)
    assert ended.returncode == CONFIGURATION
    assert f"{cache}: mounted noexec" in ended.stderr


def test_a_full_disk_may_be_tried_again_and_nothing_half_is_left(
    tmp_path: Path, mounting: Callable[[str, Path], Command]
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    listed = '"$@"; code=$?; ls -A "$0"; exit $code'
    command: Command = [*mounting("size=20m,mode=755", cache), "sh", "-c", listed, cache]
    ended = run([*command, *check(tmp_path, "--cache-dir", cache)], os.environ)
    assert (ended.returncode, ended.stdout) == (TRY_AGAIN, "")
    assert f"no room to unpack native-cpython-{sys.version_info[0]}.{sys.version_info[1]}" in ended.stderr
    assert str(cache) in ended.stderr


@pytest.mark.parametrize(
    "prepared",
    [
        'mkdir -m 755 "$place"; fill "$place" $somebody',
        'mkdir -m 755 "$place-"; fill "$place-" $somebody; ln -s "$place-" "$place"; chown -h $somebody "$place"',
        'mkdir -m 700 "$place-"; fill "$place-" $nobody; ln -s "$place-" "$place"; chown -h $somebody "$place"',
        'mkdir -m 777 "$place"; fill "$place" $nobody',
        'mkdir -m 770 "$place"; fill "$place" $nobody; chgrp $somebody "$place"',
        'mkdir -m 755 "$place"; fill "$place" 0',
        'mkfifo "$place"; chown $nobody "$place"',
    ],
    ids=[
        "somebody-else-s",
        "a-link-of-somebody-else-s",
        "a-link-to-ours",
        "open-to-everybody",
        "open-to-a-group",
        "root-s",
        "no-folder",
    ],
)
def test_a_folder_in_var_tmp_that_is_not_ours_alone_is_refused(
    prepared: str, mounting: Callable[[str, Path], Command], cache: Path, tmp_path: Path
) -> None:
    """Also when all is in it that is looked for: it may be anybody's code."""
    python = shutil.which("python3", path="/usr/bin:/bin")
    if python is None or run([python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]).returncode:
        pytest.skip("the system has no Python 3.11 or newer that every user may run")
    done([python, "-I", FILE, "serve", "--check", "--db", tmp_path / "a.db", "--cache-dir", cache])
    place = f"/var/tmp/aimem-{NOBODY}"
    script = f"""
        place={place} somebody={SOMEBODY} nobody={NOBODY}
        fill() {{ cp -r "{cache}"/* "$1"; chown -R "$2" "$1"; }}
        {prepared}
        install -m 755 "{FILE}" /var/tmp/file
        exec "$@"
    """
    ended = run(
        [
            *(*mounting("mode=1777", Path("/var/tmp")), "sh", "-c", script, "sh"),
            *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "env", "-i", python, "-I"),
            *("/var/tmp/file", "serve", "--check", "--db", "/var/tmp/a.db"),
        ],
        os.environ,
    )
    assert ended.returncode == CONFIGURATION, ended.stderr
    assert f"{place}: " in ended.stderr
    assert "--cache-dir" in ended.stderr


@pytest.mark.parametrize(
    ("flags", "env", "used"),
    [
        (["--cache-dir", "a/b"], {"AIMEM_CACHE_DIR": "b"}, "a/b"),
        ([], {"AIMEM_CACHE_DIR": "b", "CACHE_DIRECTORY": "c"}, "b"),
        ([], {"CACHE_DIRECTORY": "c:d", "XDG_CACHE_HOME": "e", "HOME": "f"}, "c"),
    ],
    ids=["flag", "variable", "systemd"],
)
def test_a_folder_that_was_named_is_the_only_one(
    flags: list[str], env: Mapping[str, str], used: str, tmp_path: Path
) -> None:
    for each in "abcdef":
        (tmp_path / each).write_text("no folder")
    ended = run([*check(tmp_path, *flags)], env, cwd=tmp_path)
    assert ended.returncode == CONFIGURATION
    assert f"can't be unpacked: {used}: " in ended.stderr
    assert "/var/tmp" not in ended.stderr
