"""Which server, as whom, and how safely: the URL of a shared store, and where its secrets come from.

The form is libpq's own (PostgreSQL manual, "Connection URIs"): `postgres://` or `postgresql://`, several hosts with
commas, settings behind `?`. A password is looked for in the URL, in the password file of our configuration, and then by
libpq itself in PGPASSFILE or `~/.pgpass`, or in the service that `?service=` names. It is never shown: `Target.shown`
and its `repr` are what logs, errors and `status` print.

Off this machine a connection is encrypted and the server's certificate verified unless the URL or the configuration
says another `sslmode` in so many words.
"""

from __future__ import annotations

import configparser
import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aimem.errors import Misconfigured

SCHEMES: Final = ("postgres://", "postgresql://")
NODE: Final = "aimem"
"""What connections of a node, and of all but a migration, are called at the server."""
SSLMODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_OURS: Final = {"target_session_attrs", "options", "connect_timeout", "application_name", "client_encoding"}
"""What is set for every connection, whatever the URL says."""
_PORT_MAX = 65535
_PLACE: Final = ("host", "hostaddr", "port", "user", "dbname", "service")
# Of any scheme, or none: what was written is printed when it is refused, and to the last @: a secret may hold one.
_USERINFO = re.compile(r"^([^/?@]*://[^:@/?]*|(?!.*://)[^:@/?]*):.*@", re.DOTALL)
_SECRET_SETTING = re.compile(r"(?<=[?&])((?:ssl)?password|passfile)=[^&]*")
_SECRET_WORD = re.compile(r"\b((?:ssl)?password|passfile)\s*=.*", re.DOTALL)  # libpq's other form, of words
_UNKNOWN = re.compile(r'invalid URI query parameter: "(\w+)"')
_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")


@dataclass(frozen=True, slots=True)
class Target:
    """A database of a server, and how it is reached. Without secrets in `repr`."""

    shown: str  # the URL without its secrets
    hosts: tuple[str, ...]
    settings: Mapping[str, str] = field(repr=False)  # libpq's, as given, `sslmode` decided
    password_file: Path | None = None
    assumed: bool = False  # nobody said `sslmode`: it is ours
    program: str = NODE  # as the server's list of connections has it

    @property
    def local(self) -> bool:
        """Whether nothing leaves this machine."""
        return all(map(is_local, self.hosts))

    @property
    def verified(self) -> bool:
        """Whether the server proves who it is, or is on this machine."""
        return self.local or self.settings["sslmode"] in ("verify-ca", "verify-full")

    def is_place_of(self, other: Target) -> bool:
        """Whether both name one database of one server, as one role, in the same words."""
        return all(self.settings.get(name) == other.settings.get(name) for name in _PLACE)

    def secrets(self) -> dict[str, str]:
        """The password of the password file, read anew each time, so that a changed one needs no restart.

        Raises:
            Misconfigured: it can't be read, or others may read it too.
        """
        if self.password_file is None or "password" in self.settings:
            return {}
        return {"password": _secret_line(self.password_file)}


def is_postgres(url: str) -> bool:
    """Whether a URL names a shared store."""
    return url.startswith(SCHEMES)


def redacted(url: str) -> str:
    """The URL without its secrets, whether it can be parsed or not."""
    if "://" not in url:
        url = _SECRET_WORD.sub(r"\1=***", url)
    return _SECRET_SETTING.sub(r"\1=***", _USERINFO.sub(r"\1:***@", url))


def read_target(
    url: str,
    *,
    env: Mapping[str, str] = os.environ,
    password_file: Path | None = None,
    sslmode: str | None = None,
    ca_cert: str | None = None,
    insecure: bool = False,
) -> Target:
    """What a URL and the configuration's `store_*` keys say together; what stands in the URL counts first.

    Raises:
        Misconfigured: it can't be read, or would cross a network in the clear without anybody having said so.
    """
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict

    if not is_postgres(url):
        raise Misconfigured(
            f"{redacted(url)} is no URL of a shared store",
            hint="write it as postgres://USER@HOST:PORT/DATABASE",
        )
    if "@" in url.partition("://")[2].partition("?")[0].partition("/")[2]:  # libpq would take the secret for a port
        raise _unreadable(url, "")
    try:
        given = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    except Error as error:
        if (found := _UNKNOWN.search(str(error))) and (close := difflib.get_close_matches(found[1], _settings(), 1)):
            raise Misconfigured(f"{redacted(url)}: there is no {found[1]}", hint=f"is {close[0]} meant?") from None
        raise _unreadable(url, "" if "***" in redacted(url) else f": {str(error).strip()}") from None
    _check_place(url, given)
    if refused := sorted(_OURS & given.keys()):
        raise Misconfigured(f"{redacted(url)}: {', '.join(refused)} is set by aimem itself", hint="leave it out")
    service = _service(given.get("service"), env)
    hosts = _hosts(given | service | {name: given[name] for name in ("host", "hostaddr") if name in given}, env)
    decided = given.get("sslmode") or sslmode or service.get("sslmode")
    if decided is not None and decided not in SSLMODES:
        raise Misconfigured(f"sslmode takes {', '.join(SSLMODES)}, not {decided!r}")
    assumed = "prefer" if insecure or all(map(is_local, hosts)) else "verify-full"
    settings = {**given, "sslmode": decided or assumed}
    if ca_cert and "sslrootcert" not in given:
        settings["sslrootcert"] = ca_cert
    elif settings["sslmode"] == "verify-full" and not {"sslrootcert"} & (given.keys() | service.keys()):
        settings["sslrootcert"] = _system_roots()
    return Target(redacted(url), hosts, settings, password_file, assumed=decided is None)


def _settings() -> list[str]:
    """What libpq lets a URL say."""
    from psycopg.pq import Conninfo

    return [each.keyword.decode() for each in Conninfo.get_defaults()]


def _unreadable(url: str, why: str) -> Misconfigured:
    """The refusal of a URL. What libpq says of one with a password could show a part of it."""
    return Misconfigured(
        f"{redacted(url)} can't be read{why}",
        hint="special characters of a password are written as %XX; better, put it into ~/.pgpass or a password file "
        "and leave it out here",
    )


def _check_place(url: str, given: Mapping[str, str]) -> None:
    """Refuse what libpq took for a host or a port and is none: it may be a part of a password."""
    if any("@" in host[1:] for host in given.get("host", "").split(",")):  # the first one: an abstract socket
        raise _unreadable(url, "")
    for port in filter(None, given.get("port", "").split(",")):
        if not (port.isascii() and port.isdigit() and 1 <= int(port) <= _PORT_MAX):
            raise Misconfigured(
                "the URL of the store has a port that is no number from 1 to 65535",
                hint="write it as postgres://USER@HOST:PORT/DATABASE",
            )


def is_local(host: str) -> bool:
    """Whether a host is this machine: a socket's folder, `localhost`, or a loopback address."""
    if host in ("", "localhost") or host.startswith(("/", "@")):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def how_to_say_it(target: Target) -> str:
    """What to write when a connection can't be encrypted and verified as nobody said that it need not."""
    url = target.shown
    joined = f"{url}{'&' if '?' in url else '?'}"
    return (
        f'name the CA of the server\'s certificate in the configuration (store_ca_cert = "/etc/aimem/pg-ca.pem"), or '
        f"say what is enough: --store-url '{joined}sslmode=require' (encrypted, not verified), or "
        f"'{joined}sslmode=disable' (in the clear)"
    )


def _hosts(given: Mapping[str, str], env: Mapping[str, str]) -> tuple[str, ...]:
    """Every host that may be reached. An address counts before the name that it is given for."""
    named = given.get("hostaddr") or given.get("host") or env.get("PGHOSTADDR") or env.get("PGHOST") or ""
    return tuple(named.split(","))


def _service(name: str | None, env: Mapping[str, str]) -> dict[str, str]:
    """What a named service of libpq's service file says; of the first file that has it.

    Raises:
        Misconfigured: no file has it.
    """
    name = name or env.get("PGSERVICE")
    if not name:
        return {}
    named = env.get("PGSERVICEFILE")
    places = [Path(named or Path(env.get("HOME") or "/nonexistent") / ".pg_service.conf")]
    places += [Path(env["PGSYSCONFDIR"]) / "pg_service.conf"] if "PGSYSCONFDIR" in env else []
    for place in places:
        parser = configparser.RawConfigParser(delimiters=("=",), strict=False)
        try:
            parser.read(place)
        except (configparser.Error, OSError, UnicodeDecodeError) as error:
            raise Misconfigured(f"the service file {place} can't be read") from error
        if parser.has_section(name):
            return dict(parser.items(name))
    raise Misconfigured(
        f"there is no service {name!r} in {' or '.join(map(str, places))}",
        hint="add it, or name the file: PGSERVICEFILE",
    )


def _system_roots() -> str:
    """The certificate authorities that this machine trusts. A carried libpq would look where it was built."""
    import ssl

    named = ssl.get_default_verify_paths().cafile
    return next((place for place in (named, *_BUNDLES) if place and os.path.exists(place)), "system")


def _secret_line(path: Path) -> str:
    """The first line of a file that only its owner may read."""
    try:
        with path.open() as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise Misconfigured(f"others may read {path}", hint=f"chmod 600 {path}")
            line = file.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Misconfigured(f"the password file {path} can't be read: {reason}") from error
    if not line:
        raise Misconfigured(f"the password file {path} is empty", hint="its first line is the password")
    return line
