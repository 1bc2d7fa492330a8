"""`scripts/bench store` runs, with little of everything, and keeps what it measured; `bench migrate --to round` comes
back to where it began."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.artifact.artifact import FILE
from tests.postgres_fixtures import skip_without_binaries

ROOT = Path(__file__).parent.parent.parent


def test_a_shared_store_is_measured_beside_a_file(tmp_path: Path) -> None:
    skip_without_binaries()
    kept = tmp_path / "store.json"
    old = {"row": "postgres-store", "tier": "keyword", "rows": 7, "values": {}}
    kept.write_text(json.dumps({"commit": "c0ffee", "machine": {}, "figures": [{**old, "clients": 64}]}))
    command = [sys.executable, str(ROOT / "scripts" / "bench"), "store", "--small", "--json", str(kept)]
    subprocess.run(command, env={**os.environ, "AIMEM": str(FILE)}, check=True, timeout=400)
    figures = json.loads(kept.read_text())["figures"]
    found = {(each["row"], each["tier"], each["rows"]): each for each in figures}
    assert len(found) == len(figures)
    assert found["postgres-store", "keyword", 7]["commit"] == "c0ffee"  # of another size: it stays
    for store in ("postgres", "sqlite"):
        assert found[f"{store}-store", "keyword", 300]["fsyncs"] > 0
        assert found[f"{store}-store", "semantic", 300]["values"]["per_second"] > 0
        for part in ("all", "hundredth", "thousandth"):
            values = found[f"{store}-recall-{part}", "semantic", 300]["values"]
            assert values["recall_at_10"] == 1  # so few are computed, none is passed over
    assert found["postgres-eight-nodes", "keyword", 300]["values"]["deadlocks"] == 0
    assert found["postgres-stale-agent", "keyword", 300]["values"]["changes"] == 5
    assert found["postgres-load", "semantic", 300]["values"]["disk_mb"] > 1
    assert found["postgres-migrate", "keyword", 300]["values"]["memories_per_second"] > 0
    assert not sum(each["errors"] for each in figures if "errors" in each)


def test_a_database_that_went_to_postgres_and_back_is_the_same() -> None:
    skip_without_binaries()
    command = [sys.executable, str(ROOT / "scripts" / "bench"), "migrate", "--to", "round", "--rows", "300"]
    said = subprocess.run(
        command, env={**os.environ, "AIMEM": str(FILE)}, check=True, timeout=200, stdout=subprocess.PIPE, text=True
    ).stdout
    digests = [line for line in said.splitlines() if line.startswith("  digest ")]
    assert len(digests) == 3
    assert len(set(digests)) == 1
