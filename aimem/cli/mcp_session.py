"""One client's talk in JSON-RPC 2.0, as the Model Context Protocol (2024-11-05) has it: a line in, a line or none out.

What always holds: a request gets exactly one reply, a notification none; a tool that fails is a result that says so,
and an error of the protocol is only for a message that asks for nothing we serve. Nothing is read or written here.
"""

from __future__ import annotations

import json
from typing import Any, Final

from aimem import __version__
from aimem.cli.invocation import Invocation, author
from aimem.cli.mcp_calls import call
from aimem.cli.mcp_prompts import PROMPTS
from aimem.cli.mcp_tools import TOOLS, VERSION
from aimem.errors import AimemError, Malformed, WrongShape
from aimem.http.bodies import parse_json
from aimem.limits import MCP_LINE_BYTES_MAX

PROTOCOL: Final = "2024-11-05"
PARSE_ERROR, INVALID_REQUEST, NO_METHOD, INVALID_PARAMS = -32700, -32600, -32601, -32602
_INSTRUCTIONS = "Durable memory, shared with other agents. Recall before you answer; store what others will need."


class RpcError(Exception):
    """What a request is refused with: one of JSON-RPC's codes, and words."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Session:
    """What is known of the client: its name, once it has said it."""

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation
        self._client: str | None = None

    def answer(self, line: bytes) -> str | None:
        """The reply to one message; None when it wants none."""
        try:
            message = parse_json(line)
        except Malformed as err:
            return _refused(None, RpcError(PARSE_ERROR, f"parse error: {err.message}"))
        except WrongShape as err:
            return _refused(None, RpcError(INVALID_REQUEST, err.message))
        try:
            asked = _request(message)
            if asked is None:
                return None
            result = self._result(*asked)
        except RpcError as err:
            return _refused(_id_of(message), err)
        return _line({"id": message["id"], "result": result})

    def too_long(self) -> str:
        """The reply to a line of which the end was not kept."""
        return _refused(None, RpcError(INVALID_REQUEST, f"a message may be {MCP_LINE_BYTES_MAX} bytes long"))

    def _result(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        match method:
            case "initialize":
                return self._initialized(params)
            case "ping":
                return {}
            case "tools/list":
                return {"toolsVersion": VERSION, "tools": [tool.described() for tool in TOOLS.values()]}
            case "tools/call":
                return self._called(params)
            case "prompts/list":
                return {"prompts": [prompt.described() for prompt in PROMPTS.values()]}
            case "prompts/get":
                return _prompt(params)
        raise RpcError(NO_METHOD, f"there is no method {method[:64]!r}")

    def _initialized(self, params: dict[str, Any]) -> dict[str, Any]:
        client = params.get("clientInfo")
        name = client.get("name") if isinstance(client, dict) else None
        self._client = name if isinstance(name, str) else None
        return {
            "protocolVersion": PROTOCOL,
            "capabilities": {"tools": {}, "prompts": {}},
            "serverInfo": {"name": "ai-memory", "version": __version__},
            "instructions": _INSTRUCTIONS,
        }

    def _called(self, params: dict[str, Any]) -> dict[str, Any]:
        """The result of a tool: its text, or why there is none."""
        tool = TOOLS[_named(params, TOOLS, "tool")]
        arguments = _object_of(params)
        try:
            who = author(self._invocation.client, self._invocation.env, self._client)
            text, failed = call(self._invocation, tool, arguments, who), False
        except AimemError as err:
            text, failed = f"{err.message} ({err.code})" + (f"\nhint: {err.hint}" if err.hint else ""), True
        return {"content": [{"type": "text", "text": text}], "isError": failed}


def _prompt(params: dict[str, Any]) -> dict[str, Any]:
    prompt = PROMPTS[_named(params, PROMPTS, "prompt")]
    given = _object_of(params)
    if not all(isinstance(value, str) for value in given.values()):
        raise RpcError(INVALID_PARAMS, "the arguments of a prompt are texts")
    return {
        "description": prompt.summary,
        "messages": [{"role": "user", "content": {"type": "text", "text": prompt.text(given)}}],
    }


def _request(message: Any) -> tuple[str, dict[str, Any]] | None:
    """Method and parameters of a request; None for a notification, which changes nothing here."""
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, "a message is one JSON-RPC 2.0 object")
    method = message.get("method")
    if not isinstance(method, str):
        raise RpcError(INVALID_REQUEST, "method must be a text")
    if "id" not in message:
        return None
    if _id_of(message) is None:
        raise RpcError(INVALID_REQUEST, "id must be a text or an integer")
    params = message.get("params")
    if params is not None and not isinstance(params, dict):
        raise RpcError(INVALID_PARAMS, "params must be an object")
    return method, params or {}


def _id_of(message: Any) -> str | int | None:
    found = message.get("id") if isinstance(message, dict) else None
    return found if isinstance(found, str | int) and not isinstance(found, bool) else None


def _named(params: dict[str, Any], known: dict[str, Any], what: str) -> str:
    name = params.get("name")
    if not isinstance(name, str) or name not in known:
        raise RpcError(INVALID_PARAMS, f"there is no {what} {str(name)[:64]!r}")
    return name


def _object_of(params: dict[str, Any]) -> dict[str, Any]:
    arguments = params.get("arguments")
    if arguments is None:
        return {}
    if not isinstance(arguments, dict):
        raise RpcError(INVALID_PARAMS, "arguments must be an object")
    return arguments


def _refused(id_: str | int | None, error: RpcError) -> str:
    return _line({"id": id_, "error": {"code": error.code, "message": error.message}})


def _line(fields: dict[str, Any]) -> str:
    """One line of ASCII, whatever the locale: newlines and the rest are escaped."""
    return json.dumps({"jsonrpc": "2.0", **fields}, separators=(",", ":"))
