"""How a command finds a node, and who it says it is."""

from __future__ import annotations

from collections.abc import Mapping

from aimem.config.file import CLIENT_KEYS, ConfigFile
from aimem.config.settings import ClientSettings
from aimem.errors import Misconfigured


def client_settings(flags: Mapping[str, str | None], env: Mapping[str, str], config: ConfigFile) -> ClientSettings:
    """The `[client]` table, under the environment, under the flags; `None` in `flags` is "not given"."""
    surroundings = {"to": env.get("AIMEM_URL"), "agent_id": env.get("AI_MEMORY_AGENT_ID") or None}
    chosen = {
        name: flags.get(name) or surroundings.get(name) or config.table("client").get(name) for name in CLIENT_KEYS
    }
    settings = ClientSettings(**{name: value for name, value in chosen.items() if value})
    if bool(settings.client_cert) != bool(settings.client_key):
        raise Misconfigured("--client-cert and --client-key go together")
    return settings
