"""An error body is read back as the error that wrote it."""

from __future__ import annotations

import json

import pytest

from aimem import errors
from aimem.net.reply import Reply, refusal


def leaves(kind: type[errors.AimemError]) -> list[type[errors.AimemError]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in leaves(child))]


@pytest.mark.parametrize("kind", leaves(errors.AimemError), ids=lambda kind: kind.code)
def test_every_error_comes_back(kind: type[errors.AimemError]) -> None:
    sent = kind("what", hint="do", extra={"current": "v"})
    found = refusal(Reply(kind.status, {}, json.dumps(sent.body()).encode()))
    assert found is not None
    address_is_wrong = kind in (errors.NoRoute, errors.MethodNotAllowed)
    assert type(found) is (errors.AimemError if address_is_wrong else kind)
    assert (found.message, found.hint) == ("what", "do")
    assert address_is_wrong or found.extra == {"current": "v"}


@pytest.mark.parametrize("body", [b"", b"not found", b"[]", b"<html>"])
def test_an_answer_that_is_not_ours_is_a_failure_with_doubt(body: bytes) -> None:
    found = refusal(Reply(500, {}, body))
    assert type(found) is errors.AimemError
    assert "500" in found.message


def test_a_path_without_body_is_no_missing_memory() -> None:
    found = refusal(Reply(404, {}, b""))
    assert type(found) is errors.AimemError
    assert "aimem node" in (found.hint or "")


def test_success_is_no_error_and_must_be_an_object() -> None:
    assert refusal(Reply(204)) is None
    for body in (b"", b"[1]", b"\xff"):
        with pytest.raises(errors.AimemError, match="the reply"):
            Reply(200, {}, body).json()
