"""`aimem allowlist`: edits that keep what they are not about, and a fleet minted from nothing that really meets."""

from __future__ import annotations

import json
import os
import stat
import threading
import tomllib
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.cli.conftest import Run
from tests.http.processes import serving

ONE = "ab" * 32
OTHER = "cd" * 32


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """A list in somebody's own style."""
    path = tmp_path / "peers.txt"
    path.write_text(f"# ours\n\nsha256:{ONE.upper()}   # node=a  the first\n# end\n")
    path.chmod(0o640)
    return path


def certificate(folder: Path, name: str = "c") -> Path:
    path = folder / f"{name}.crt"
    trustme.CA().issue_cert("node.example").cert_chain_pems[0].write_to_path(str(path))
    return path


def test_add_keeps_comments_order_and_mode(run: Run, listed: Path) -> None:
    done = run(
        "allowlist", "--file", str(listed), "add", OTHER, "--node", "b", "--roles", "peer", "--comment", "new one"
    )
    assert done.code == 0
    assert (
        listed.read_text()
        == f"# ours\n\nsha256:{ONE.upper()}   # node=a  the first\n# end\n{OTHER} # node=b roles=peer new one\n"
    )
    assert stat.S_IMODE(listed.stat().st_mode) == 0o640


def test_add_again_changes_the_line(run: Run, listed: Path) -> None:
    assert run("allowlist", "add", ONE, "--file", str(listed), "--node", "z").code == 0
    assert listed.read_text() == f"# ours\n\n{ONE} # node=z\n# end\n"


def test_add_makes_the_file_and_takes_certificates(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "new.txt"
    cert = certificate(tmp_path)
    assert run("allowlist", "--file", str(path), "add", str(cert), "--agents", "ai:*").code == 0
    rows = json.loads(run("allowlist", "--file", str(path), "list", "--certs", str(tmp_path), "--json").out)["entries"]
    assert [(row["agents"], bool(row["expires"]), bool(row["subject"])) for row in rows] == [(["ai:*"], True, True)]


def test_remove_by_fingerprint_and_by_node(run: Run, listed: Path) -> None:
    run("allowlist", "--file", str(listed), "add", OTHER, "--node", "b")
    assert run("allowlist", "--file", str(listed), "remove", ONE).code == 0
    assert run("allowlist", "--file", str(listed), "remove", "b").code == 0
    assert listed.read_text() == "# ours\n\n# end\n"
    assert run("allowlist", "--file", str(listed), "remove", ONE).code == 3


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("add", "nonsense"), 2),
        (("add", ONE[:-1]), 2),
        (("add", OTHER, "--roles", "king"), 2),
        (("add", OTHER, "--comment", "roles=agent"), 2),
        (("add", OTHER, "--comment", "two\nlines"), 2),
        (("remove", "nonsense"), 3),
        (("check", "nonsense"), 2),
        (("check", "http://127.0.0.1:1"), 2),
        (("check", "https://127.0.0.1:1"), 7),
    ],
)
def test_bad_words_change_nothing(run: Run, listed: Path, arguments: tuple[str, ...], code: int) -> None:
    before = listed.read_text()
    done = run("allowlist", "--file", str(listed), *arguments)
    assert done.code == code, done.err
    assert listed.read_text() == before


def test_a_damaged_list_is_named_with_its_line(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "bad.txt"
    path.write_text(f"{ONE}\nzz # what\n")
    done = run("allowlist", "--file", str(path), "list")
    assert done.code == 78
    assert str(path) in done.err
    assert "line 2" in done.err


def test_without_a_file_it_is_asked_for(run: Run) -> None:
    assert run("allowlist", "list").code == 2


def test_the_file_of_the_configuration_is_used(run: Run, listed: Path, tmp_path: Path) -> None:
    config = tmp_path / "aimem.toml"
    config.write_text(f'mtls_allowlist = "{listed}"\n')
    assert ONE in run("allowlist", "--config", str(config), "list").out


def test_edits_at_the_same_time_are_all_there(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "many.txt"
    prints = [f"{number:064x}" for number in range(12)]
    from aimem.cli.allowlist_file import edited
    from aimem.core.allowlist import Entry, parse_allowlist, with_entry

    def add(fingerprint: str) -> None:
        with edited(path) as edit:
            edit(lambda text: with_entry(text, Entry(fingerprint=fingerprint)))

    threads = [threading.Thread(target=add, args=(each,)) for each in prints]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.fingerprint for each in parse_allowlist(path.read_text()).entries} == set(prints)


def test_check_of_a_certificate(run: Run, listed: Path, tmp_path: Path) -> None:
    cert = certificate(tmp_path)
    done = run("allowlist", "--file", str(listed), "check", str(cert), "--json")
    assert done.code == 8
    assert json.loads(done.out)["listed"] is False
    run("allowlist", "--file", str(listed), "add", str(cert), "--roles", "agent")
    done = run("allowlist", "--file", str(listed), "check", str(cert), "--json")
    assert done.code == 0
    assert json.loads(done.out)["roles"] == ["agent"]


INVENTORY = """
quorum_timeout_ms = 1500
[[node]]
name = "rack-a-1"
address = "rack-a-1.example:9077"
rack = "a"
zone = "1"
also = ["10.1.0.1"]
[[node]]
name = "rack-b-1"
address = "10.2.0.1"
rack = "b"
[[agent]]
name = "planner"
agents = "ai:planner"
"""


def mint(run: Run, folder: Path, text: str) -> Path:
    inventory = folder / "racks.toml"
    inventory.write_text(text)
    done = run("allowlist", "mint", "--out", str(folder / "fleet"), "--inventory", str(inventory))
    assert done.code == 0, done.err
    return folder / "fleet"


def test_a_minted_certificate_serves_and_shows(run: Run, tmp_path: Path) -> None:
    fleet = mint(run, tmp_path, INVENTORY)
    cert = x509.load_pem_x509_certificate((fleet / "rack-a-1" / "tls.crt").read_bytes())
    usages = cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "rack-a-1.example" in names.get_values_for_type(x509.DNSName)
    assert "10.1.0.1" in [str(each) for each in names.get_values_for_type(x509.IPAddress)]
    for key in fleet.rglob("*.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_minted_configuration_says_it_all(run: Run, tmp_path: Path) -> None:
    fleet = mint(run, tmp_path, INVENTORY)
    config = tomllib.loads((fleet / "rack-b-1" / "aimem.toml").read_text())
    assert config["quorum_peers"] == ["https://rack-a-1.example:9077"]
    assert (config["rack"], config["quorum_racks"], config["quorum_timeout_ms"]) == ("b", 2, 1500)
    listed = (fleet / "peer-fingerprints.txt").read_text()
    assert "node=rack-a-1 rack=a zone=1" in listed
    assert "roles=agent agents=ai:planner planner" in listed
    client = tomllib.loads((fleet / "planner" / "aimem.toml").read_text())["client"]
    assert client["agent_id"] == "ai:planner"  # what a command says of itself else, its certificate may not be


def test_minting_again_overwrites_nothing_and_makes_what_is_missing(run: Run, tmp_path: Path) -> None:
    fleet = mint(run, tmp_path, INVENTORY)
    before = {path: path.read_bytes() for path in fleet.rglob("*") if path.is_file()}
    mint(run, tmp_path, INVENTORY + '[[node]]\nname = "rack-c-1"\naddress = "rack-c-1:9077"\nrack = "c"\n')
    assert {path: path.read_bytes() for path in before} == before
    assert (fleet / "rack-c-1" / "tls.crt").exists()
    assert "rack-c-1" in (fleet / "rack-a-1" / "aimem.toml.new").read_text()
    assert "rack-c-1" in (fleet / "peer-fingerprints.txt.new").read_text()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "names no node"),
        ("[[node]]\nname = 'a'\n", "address"),
        ("[[node]]\nname = 'a b'\naddress = 'x'\n", "not a name"),
        ("[[node]]\nname = 'a'\naddress = 'x:port'\n", "HOST"),
        ("[[node]]\nname = 'a'\naddress = 'x'\nrck = 'a'\n", "rck"),
        ("nonsense = 1\n[[node]]\nname = 'a'\naddress = 'x'\n", "nonsense"),
        ("[[node]]\nname = 'a'\naddress = 'x'\n[[node]]\nname = 'a'\naddress = 'y'\n", "twice"),
        ("[[node]]\nname = 'a'\naddress = 'x'\n[[agent]]\nname = '..'\n", "not a name"),
        ("[[node]]\nname = 'a'\naddress = '::1:9077'\n", "[ADDRESS]:PORT"),
        ("[[", "can't be read"),
    ],
)
def test_bad_inventories_are_told(run: Run, tmp_path: Path, text: str, word: str) -> None:
    inventory = tmp_path / "i.toml"
    inventory.write_text(text)
    done = run("allowlist", "mint", "--out", str(tmp_path / "f"), "--inventory", str(inventory))
    assert done.code in (2, 78)
    assert word in done.err
    assert not (tmp_path / "f" / "ca.key").exists()
    assert not os.path.exists(tmp_path / "f" / "peer-fingerprints.txt")


@pytest.mark.parametrize("names", [["a", "a=b:1"], ["a b"], ["a=h:x"], ["a=1:2:3"]])
def test_bad_names_on_the_command_line_are_usage(run: Run, tmp_path: Path, names: list[str]) -> None:
    assert run("allowlist", "mint", "--out", str(tmp_path / "f"), *names).code == 2
    assert not (tmp_path / "f").exists()


def test_check_of_a_node_shows_the_certificate_of_the_client(run: Run, tmp_path: Path) -> None:
    fleet = tmp_path / "fleet"
    done = run("allowlist", "mint", "--out", str(fleet), "--config-dir", f"{fleet}/{{node}}", "a=127.0.0.1:1")
    assert done.code == 0
    config = ("--config", str(fleet / "a" / "aimem.toml"))
    (fleet / "a" / "ca.crt").unlink()
    with serving("--config", "", *door(fleet / "a"), "--db", str(tmp_path / "a.db")) as (_, port):
        done = run("allowlist", "check", f"https://127.0.0.1:{port}", *config, "--json")
        assert (done.code, "ca.crt: No such file" in json.loads(done.out)["why"]) == (8, True)
        (fleet / "a" / "ca.crt").write_bytes((fleet / "ca.crt").read_bytes())
        done = run("allowlist", "check", f"https://127.0.0.1:{port}", *config, "--json")
        assert (done.code, json.loads(done.out)["let_in"]) == (0, True)


def door(folder: Path) -> list[str]:
    files = {"--tls-cert": "tls.crt", "--tls-key": "tls.key", "--mtls-allowlist": "peer-fingerprints.txt"}
    return [word for flag, name in files.items() for word in (flag, str(folder / name))]
