"""The prompts that `aimem mcp` offers: how an agent uses the memory, in words for the agent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Prompt:
    """`words` are for the agent; with a namespace, `where` follows them."""

    name: str
    summary: str
    words: str
    where: str

    def described(self) -> dict[str, Any]:
        """The entry in the list of prompts."""
        namespace = {"name": "namespace", "description": "The namespace that the work is about.", "required": False}
        return {"name": self.name, "description": self.summary, "arguments": [namespace]}

    def text(self, given: Mapping[str, str]) -> str:
        """What the agent is told."""
        namespace = given.get("namespace")
        return f"{self.words} {self.where.format(namespace)}" if namespace else self.words


PROMPTS: Final = {
    prompt.name: prompt
    for prompt in (
        Prompt(
            "recall-first",
            "Look into the memory before you answer.",
            "Before you answer, call memory_recall with the task in your own words, and use what it finds. When "
            "nothing fits, try memory_search with the exact words, then go on without. Name what you rely on by its "
            "title.",
            "Recall with namespace {0} first.",
        ),
        Prompt(
            "memory-workflow",
            "What to store, where, and how to keep it true.",
            "Recall before you work. Store with memory_store what another agent will need later: decisions with "
            "their reasons, corrections, facts that were hard to find; one thing each, under a title that says what it "
            "is, never a secret. The same title in the same namespace is the same memory: storing it again changes "
            "it. Use tier short for hours, mid for a week, long for good; memory_promote keeps what proved right. Link "
            "what belongs together with memory_link, and what replaces something older with relation supersedes. A "
            "result with status pending waits for approval: do not store it again.",
            "Work in namespace {0}.",
        ),
    )
}
