"""The words behind a fingerprint or an API key that say who it belongs to: `node=rack-a-1 roles=peer agents=ai:*`.

They stand in a comment, where plain text may stand too. What always holds: a word that is nearly a known one is an
error, for it was meant to narrow what somebody may do; and words written by `Identity.words` read back as they were.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from aimem.core.namespace import check_namespace
from aimem.errors import Invalid, Misconfigured
from aimem.limits import AGENT_ID_CHARS_MAX

PEER: Final = "peer"
AGENT: Final = "agent"
ROLES: Final = (PEER, AGENT)
EVERYWHERE: Final = ("**",)
WORDS: Final = ("node", "rack", "zone", "roles", "agents", "namespaces", "home")

_TYPO_LETTERS: Final = 2  # so many letters off a known word is taken for a slip of the hand
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._:@-]{{0,{AGENT_ID_CHARS_MAX - 1}}}")
_AGENTS = re.compile(rf"[A-Za-z0-9._:@/-]{{1,{AGENT_ID_CHARS_MAX}}}\*?|\*")
_LOOSE = re.compile(rf"(?:^|\s)({'|'.join(WORDS)})\s+=")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the holder of a certificate or key is, and what it may do. As made without arguments: a line without words.

    `agents`: names it may speak for, `*` at the end for any ending; empty binds none. `namespaces`: those that it may
    carry: a path is itself, `*` stands for one segment, `/**` at the end for the path and everything below it.
    """

    node: str | None = None
    rack: str | None = None
    zone: str | None = None
    roles: tuple[str, ...] = ROLES
    agents: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = EVERYWHERE
    home: str | None = None

    def names_agent(self, agent_id: str) -> bool:
        """Whether the words bind it to `agent_id`."""
        return any(agent_id.startswith(each[:-1]) if each.endswith("*") else agent_id == each for each in self.agents)

    def may_carry(self, namespace: str) -> bool:
        """Whether `namespace` is one of its own."""
        return any(covers(pattern, namespace) for pattern in self.namespaces)

    def words(self) -> str:
        """The words that say this; what is as in a line without words is left out."""
        said = {
            "node": self.node,
            "rack": self.rack,
            "zone": self.zone,
            "roles": None if self.roles == ROLES else ",".join(self.roles),
            "agents": ",".join(self.agents),
            "namespaces": None if self.namespaces == EVERYWHERE else ",".join(self.namespaces),
            "home": self.home,
        }
        return " ".join(f"{name}={value}" for name, value in said.items() if value)


def parse_words(comment: str, roles: tuple[str, ...] = ROLES) -> tuple[Identity, str]:
    """The identity in a comment, and the plain text beside it. `roles` are those of a comment that says none.

    Raises `Misconfigured`: a word nearly known, said twice, apart from its `=`, or with a value that it can't have.
    """
    if (loose := _LOOSE.search(comment)) is not None:
        raise Misconfigured(f"{loose[1]}= is written without spaces around the equals sign")
    values: dict[str, str] = {}
    plain: list[str] = []
    for token in comment.split():
        name, equals, value = token.partition("=")
        if not equals or not _is_known(name):
            plain.append(token)
        elif name in values:
            raise Misconfigured(f"{name}= stands twice")
        else:
            values[name] = value
    return identity_of(values, roles), " ".join(plain)


def identity_of(values: dict[str, str], roles: tuple[str, ...] = ROLES) -> Identity:
    """The identity that these values of known words make. Raises `Misconfigured` for a value that a word can't have."""
    said = values.get("roles")
    bound = values.get("agents")
    carried = values.get("namespaces")
    return Identity(
        node=_name("node", values),
        rack=_name("rack", values),
        zone=_name("zone", values),
        roles=roles if said is None else _roles(said),
        agents=() if bound is None else tuple(_agent(each) for each in _items("agents", bound)),
        namespaces=EVERYWHERE if carried is None else tuple(_pattern(each) for each in _items("namespaces", carried)),
        home=_namespace("home", values["home"]) if "home" in values else None,
    )


# Words: which are known, which were meant to be.


def _is_known(name: str) -> bool:
    if name in WORDS:
        return True
    nearest = min(WORDS, key=lambda word: letters_between(name.lower(), word))
    if letters_between(name.lower(), nearest) <= _TYPO_LETTERS:
        raise Misconfigured(f"{name}= is not a known word", hint=f"the nearest one is {nearest}=")
    return False


def letters_between(one: str, other: str) -> int:
    """How many letters must be put in, taken out or exchanged to make `other` of `one`."""
    above = list(range(len(other) + 1))
    for row, left in enumerate(one, 1):
        here = [row]
        for column, right in enumerate(other, 1):
            here.append(min(above[column] + 1, here[-1] + 1, above[column - 1] + (left != right)))
        above = here
    return above[-1]


# Values.


def _name(word: str, values: dict[str, str]) -> str | None:
    value = values.get(word)
    if value is not None and not _NAME.fullmatch(value):
        raise Misconfigured(f"{word}={value} is not a name", hint="letters, digits and . _ : @ - are allowed")
    return value


def _items(word: str, value: str) -> list[str]:
    items = value.split(",")
    if not all(items):
        raise Misconfigured(f"{word}={value} has an empty item", hint="commas stand between items, without spaces")
    return list(dict.fromkeys(items))


def _roles(value: str) -> tuple[str, ...]:
    said = _items("roles", value)
    if unknown := [each for each in said if each not in ROLES]:
        raise Misconfigured(f"roles={value}: {unknown[0]} is not a role", hint=f"the roles are {' and '.join(ROLES)}")
    return tuple(role for role in ROLES if role in said)


def _agent(value: str) -> str:
    if not _AGENTS.fullmatch(value):
        raise Misconfigured(f"agents= can't hold {value!r}", hint="the name of an agent, or its beginning and a *")
    return value


def _namespace(word: str, value: str) -> str:
    try:
        return check_namespace(value, f"{word}=")
    except Invalid as err:
        raise Misconfigured(err.message) from err


def _pattern(value: str) -> str:
    path = value.removesuffix("/**")
    if value == "**":
        return value
    segments = _namespace("namespaces", path).split("/")
    if any("*" in segment and segment != "*" for segment in segments):
        raise Misconfigured(
            f"namespaces= can't hold {value!r}", hint="a * stands for a whole segment, /** at the end for all below"
        )
    return value


def covers(pattern: str, namespace: str) -> bool:
    """Whether a pattern of `namespaces=` takes in a namespace."""
    if pattern == "**":
        return True
    wanted = pattern.removesuffix("/**").split("/")
    held = namespace.split("/")
    if len(held) < len(wanted) or (len(held) > len(wanted) and not pattern.endswith("/**")):
        return False
    return all(want in ("*", have) for want, have in zip(wanted, held, strict=False))
