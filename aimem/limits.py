"""Every bound of the program, in one place, each with its reason.

"wire" as a reason means: the existing system enforces the same number, and its users rely on it.
"""

from __future__ import annotations

# One memory (wire).
TITLE_CHARS_MAX = 512
CONTENT_BYTES_MAX = 65_536
TAGS_MAX = 50
TAG_BYTES_MAX = 128
METADATA_BYTES_MAX = 65_536
METADATA_DEPTH_MAX = 32
NAMESPACE_CHARS_MAX = 512
NAMESPACE_DEPTH_MAX = 8
AGENT_ID_CHARS_MAX = 128
ID_BYTES_MAX = 128
SOURCE_CHARS_MAX = 64
PRIORITY_MIN, PRIORITY_MAX = 1, 10
TTL_SECS_MAX = 31_536_000
CONFIG_TTL_SECS_MAX = 315_360_000
ACCESS_COUNT_MAX = 1_000_000

# One request (wire, but where a reason stands).
BODY_BYTES_MAX = 2 * 1024 * 1024
ITEMS_MAX = 1_000
LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX = 20, 1_000
RECALL_LIMIT_DEFAULT, RECALL_LIMIT_MAX = 10, 50
IDEMPOTENCY_KEY_BYTES_MAX = 255  # longer than any UUID or composite id in use; kept a day, so it must be small
