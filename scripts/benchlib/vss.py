"""sqlite-vss 0.1.2: what an insert costs. It is the measurement that dropped it: its index is rewritten at every one.

Installs it into a folder of its own, for a python whose sqlite3 can load extensions (Debian's can). It needs more that
no wheel brings: apt-get install libblas3 liblapack3 libgomp1."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_MEASURE = """
import os, random, sqlite3, struct, sys, time
import sqlite_vss
connection = sqlite3.connect(sys.argv[1])
connection.enable_load_extension(True)
sqlite_vss.load(connection)
connection.execute("CREATE VIRTUAL TABLE v USING vss0 (e(384))")
chance, written = random.Random(1), 0
vector = lambda: struct.pack("384f", *(chance.gauss(0, 1) for _ in range(384)))
io = lambda: int(open("/proc/self/io").read().split("write_bytes: ")[1].split()[0])
for step in (1_000, 3_000):
    have = connection.execute("SELECT count(*) FROM v").fetchone()[0]
    connection.executemany("INSERT INTO v (rowid, e) VALUES (?, ?)", ((n + 1, vector()) for n in range(have, step)))
    connection.commit()
    began, before = time.perf_counter(), io()
    for number in range(5):
        connection.execute("INSERT INTO v (rowid, e) VALUES (?, ?)", (1_000_000 + step + number, vector()))
        connection.commit()
    took, size = (time.perf_counter() - began) / 5, (io() - before) / 5
    print(f"at {step} rows: {took * 1e3:.1f} ms and {size / 2**20:.1f} MiB written per insert")
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--python", default="/usr/bin/python3", help="one whose sqlite3 can load extensions")


def run(options: argparse.Namespace) -> int:
    probe = "import sqlite3; sqlite3.connect(':memory:').enable_load_extension(True)"
    if (
        not shutil.which(options.python)
        or subprocess.run([options.python, "-c", probe], capture_output=True).returncode
    ):
        print(f"{options.python} can't load SQLite extensions: that alone keeps sqlite-vss out of a single file")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", f"{folder}/site", "--no-deps"]
        subprocess.run([*install, "sqlite-vss==0.1.2"], check=True)
        environment = {"PYTHONPATH": f"{folder}/site", "PATH": "/usr/bin:/bin"}
        command = [options.python, "-c", _MEASURE, str(Path(folder) / "x.db")]
        done = subprocess.run(command, env=environment, check=False).returncode
    if done:
        print("sqlite-vss did not load; on Debian: apt-get install libblas3 liblapack3 libgomp1")
    return done
