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
QUERY_TERMS_MAX = 64  # different terms of one question: as many as a long paragraph has that carry meaning
TERM_WORDS_MAX = 16  # words of one term, such as a path or a URL: more can't make it more specific

# A client's side of one request.
CONNECT_SECS = 5.0  # a node on the same site answers a connect in milliseconds; a dead host never does
READ_SECS = 60.0  # silence on an open connection: above any quorum time-out and any recall
REPLY_HEAD_BYTES_MAX = 65_536
REPLY_BYTES_MAX = 256 * 1024 * 1024  # a full list of the longest memories is 64 MiB before it is escaped

# One push.
PUSH_BATCH_ITEMS = 200  # a fifth of what a request may hold: steps of progress, and little to send again after a break
PUSH_BATCH_BYTES = 512 * 1024
PUSH_LANES_DEFAULT, PUSH_LANES_MAX = 4, 32
PUSH_RETRY_SECS = 60.0  # a node that restarts is back by then
PUSH_RESUME_SECS = 86_400  # as long as a node keeps idempotency keys: an older break starts anew

# The store.
GROUP_INTENTS_MAX = 512  # writers that share one fsync; above some hundred the fsync no longer shows
WRITE_QUEUE_MAX = 20_000  # intents that wait; at 2,000 a second that is ten seconds, longer than anybody should wait
WAL_BYTES_MAX = 64 * 1024 * 1024  # the existing system's log grew to 8.4 GB; at this size ours waits for its readers
READERS = 4  # read connections, each a thread: more than that only queue for the interpreter
SCAN_BATCH = 1_000  # records in memory at once while a whole kind is read
