"""`aimem allowlist`: who is let in: the file of certificate fingerprints, edited, read, and tried out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from aimem.cli import certificates, output
from aimem.cli.allowlist_file import edited, read_list
from aimem.cli.allowlist_mint import mint
from aimem.cli.invocation import Invocation
from aimem.cli.options import (
    FILE,
    Command,
    Group,
    cache_dir_option,
    config_option,
    json_option,
    pass_invocation,
    tls_options,
)
from aimem.config.settings import ClientSettings
from aimem.errors import AimemError, Drift, Misconfigured, NotFound, Unreachable, Usage

_WORDS = {
    "node": "Node that holds the certificate.",
    "rack": "Its rack.",
    "zone": "Its zone.",
    "roles": "peer, agent, or both with a comma. [both]",
    "agents": "Agent ids that it may speak for, with commas; * at the end for any ending.",
    "namespaces": "Namespaces that it may carry, read and write, with commas; /** at the end for all below. [all]",
    "home": "Namespace that it works from: what it sees of others goes by scope from there.",
}


def file_option() -> click.Option:
    """`--file`."""
    return click.Option(["--file"], type=FILE, metavar="PATH", help="The list. [mtls_allowlist]")


@click.group(
    "allowlist",
    cls=Group,
    params=[
        file_option(),
        config_option(section="Options"),
        cache_dir_option(section="Options"),
    ],
    examples="""
aimem allowlist --file peers.txt add rack-a-1.crt --node rack-a-1 --roles peer
aimem allowlist list
aimem allowlist check https://rack-a-1:9077 --client-cert tls.crt --client-key tls.key --ca-cert ca.crt
aimem allowlist mint --out fleet --inventory racks.toml
""",
)
@click.pass_context
def command(ctx: click.Context, file: str | None) -> None:
    """Say which certificates are let in, and make those of a new fleet.

    The file has one SHA-256 fingerprint a line; words in the comment behind it say who it is and what it may do. A node
    reads it again at SIGHUP, and cuts connections whose line went.
    """
    ctx.meta["aimem.allowlist"] = file


def _editing(name: str, **settings: Any) -> Callable[[Callable[..., Any]], Command]:
    """A subcommand that works on the file: its function gets the `Invocation` and the file's path first."""

    def decorate(function: Callable[..., Any]) -> Command:
        @pass_invocation
        def run(invocation: Invocation, /, file: str | None, **given: Any) -> Any:
            return function(invocation, _path(invocation, file), **given)

        run.__doc__ = function.__doc__
        run.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
        made = click.command(name, cls=Command, **settings)(run)
        made.params += [
            file_option(),
            json_option(),
            config_option(),
            cache_dir_option(),
        ]
        return made

    return decorate


def _path(invocation: Invocation, file: str | None) -> Path:
    before = click.get_current_context().meta.get("aimem.allowlist")
    named = file or before or invocation.config.values.get("mtls_allowlist")
    if not named:
        raise Usage("which list?", hint="name it with --file, or as mtls_allowlist in the configuration")
    return Path(str(named))


def _words(function: Callable[..., Any]) -> Callable[..., Any]:
    for name, text in reversed(_WORDS.items()):
        function = click.option(f"--{name}", metavar="TEXT", help=text)(function)
    return function


@_editing("add", examples="aimem allowlist add new.crt --node rack-b-2 --rack b --roles peer")
@click.argument("certificate", metavar="CERT|FINGERPRINT")
@_words
@click.option("--comment", metavar="TEXT", default="", help="Plain words behind it.")
def add(invocation: Invocation, path: Path, certificate: str, comment: str, **words: str | None) -> None:
    """Let a certificate in, or change what its line says.

    CERT is a PEM file. The file is made if there is none, and replaced whole; comments and order stay.
    """
    from aimem.core.allowlist import Entry, with_entry
    from aimem.core.identity_words import identity_of

    fingerprint = certificates.fingerprint_named(certificate)
    try:
        who = identity_of({name: value for name, value in words.items() if value})
        entry = Entry.of(who, fingerprint, comment)
        with_entry("", entry)  # what is wrong with it alone is not the file's fault
    except Misconfigured as error:
        raise Usage(error.message, hint=error.hint) from error
    with edited(path) as edit:
        edit(lambda text: with_entry(text, entry))
    if invocation.json:
        output.print_json({"added": fingerprint})
    else:
        print(f"{fingerprint} is listed in {path}: send its nodes a SIGHUP")


@_editing("remove", examples="aimem allowlist remove old.crt")
@click.argument("certificate", metavar="CERT|FINGERPRINT|NODE")
def remove(invocation: Invocation, path: Path, certificate: str) -> None:
    """Let a certificate in no longer. A node's name removes all of its lines."""
    from aimem.core.allowlist import parse_allowlist, without

    listed = read_list(path)
    gone = [each.fingerprint for each in listed.entries if each.node == certificate]
    try:
        gone = gone or [certificates.fingerprint_named(certificate)]
    except Usage as error:
        raise NotFound(f"{error.message}; nor is it a node listed in {path}") from error
    if missing := [each for each in gone if listed.find(each) is None]:
        raise NotFound(f"{missing[0]} is not listed in {path}")

    def edit_all(text: str) -> str:
        for fingerprint in gone:
            text = without(text, fingerprint)
        if not parse_allowlist(text, empty=True).entries:
            output.say(f"{path} lists nobody now: a node refuses to start with it")
        return text

    with edited(path) as edit:
        edit(edit_all)
    if invocation.json:
        output.print_json({"removed": gone})
    else:
        print(f"removed {len(gone)} from {path}: send its nodes a SIGHUP")


@_editing("list", examples="aimem allowlist list --certs /etc/aimem/certs")
@click.option(
    "--certs", type=click.Path(file_okay=False, exists=True), metavar="DIR", help="Look here for the certificates."
)
def list_(invocation: Invocation, path: Path, certs: str | None) -> None:
    """List who is let in.

    With --certs also until when each certificate is valid, and its subject. In a pipe each line is fingerprint, node,
    rack, zone, roles, agents, namespaces, expiry, subject and comment, with tabs between.
    """
    known = certificates.below(invocation, Path(certs)) if certs else {}
    rows = []
    for entry in read_list(path).entries:
        certificate = known.get(entry.fingerprint)
        rows.append({
            "fingerprint": entry.fingerprint,
            "node": entry.node,
            "rack": entry.rack,
            "zone": entry.zone,
            "roles": list(entry.roles),
            "agents": list(entry.agents),
            "namespaces": list(entry.namespaces),
            "home": entry.home,
            "expires": certificate.not_valid_after_utc.strftime("%Y-%m-%d") if certificate else None,
            "subject": certificate.subject.rfc4514_string() if certificate else None,
            "comment": entry.comment,
        })  # fmt: skip
    if invocation.json:
        output.print_json({"file": str(path), "entries": rows})
        return
    names = ("fingerprint", "node", "rack", "zone", "roles", "agents", "namespaces", "expires", "subject", "comment")
    cells = [[_cell(row[name]) for name in names] for row in rows]
    if output.is_tty(sys.stdout):
        short = [[row[0][:16], *row[1:]] for row in cells]
        print("\n".join(output.table([name.upper() for name in names], short, stretch=9)))
    else:
        for cell in cells:
            output.print_line(*cell)


def _cell(value: object) -> str:
    return ",".join(value) if isinstance(value, list) else str(value or "")


@_editing("check", examples="aimem allowlist check https://rack-a-1:9077 --ca-cert ca.crt")
@click.argument("target", metavar="URL|CERT")
def check(invocation: Invocation, path: Path, target: str) -> int:
    """Say whether a certificate is let in, and by which line; or make a real handshake with a node.

    Of a URL both sides are told: whether the node lets the certificate of --client-cert (or of [client]) in, and
    whether the list here has the certificate that the node shows. Exit code 8 when one would be refused.
    """
    told = (
        _check_node(path, target, invocation.client)
        if "://" in target
        else _check_certificate(invocation, path, target)
    )
    if invocation.json:
        output.print_json(told)
    else:
        output.print_fields(told)
    return 0 if told["ok"] else Drift.exit_code


def _check_certificate(invocation: Invocation, path: Path, target: str) -> dict[str, Any]:
    fingerprint = certificates.fingerprint_named(target)
    entry = read_list(path).find(fingerprint)
    told: dict[str, Any] = {"ok": entry is not None, "fingerprint": fingerprint, "listed": entry is not None}
    if entry is None:
        told["why"] = f"not listed in {path}"
    else:
        told |= {"line": entry.line, "roles": list(entry.roles), "words": entry.words()}
    if os.path.isfile(target):
        leaf = certificates.leaf(invocation, Path(target))
        told |= {"subject": leaf.subject.rfc4514_string(), "expires": leaf.not_valid_after_utc.strftime("%Y-%m-%d")}
    return told


def _check_node(path: Path, url: str, client: ClientSettings) -> dict[str, Any]:
    import hashlib
    import ssl

    from aimem.net.client import Client
    from aimem.net.client_tls import TlsFiles, shown_by

    files = TlsFiles(client.ca_cert, client.client_cert, client.client_key, client.pin)
    if not url.startswith("https://"):
        raise Usage(f"{url} has no certificates to check", hint="write it as https://HOST:PORT")
    caller = Client(url, tls=files, connect_secs=5, read_secs=10)
    told: dict[str, Any] = {"url": url}
    try:
        shown = shown_by(caller.address.host, caller.address.port)
        theirs = hashlib.sha256(shown).hexdigest()
        told |= {"node_fingerprint": theirs}
        entry = read_list(path).find(theirs) if path.exists() else None
        told["node_listed_here"] = entry is not None
        told["node_words"] = entry.words() if entry is not None else None
        reply = caller.request("GET", "/api/v1/health")
        told |= {"let_in": True, "status": reply.status}
    except AimemError as error:
        if isinstance(error, Unreachable) and not isinstance(error.__cause__, ssl.SSLError):
            raise
        told |= {"let_in": False, "why": error.message} | ({"hint": error.hint} if error.hint else {})
    finally:
        caller.close()
    told["ok"] = told["let_in"] and told.get("node_listed_here", False)
    if told["let_in"] and not told["ok"]:
        told["why"] = f"the node's own certificate is not listed in {path}: a node with this list would refuse it"
    return told


check.params += tls_options(section="Options")

for each in (add, remove, list_, check, mint):
    command.add_command(each)
