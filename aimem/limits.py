"""Every bound of the program, in one place, each with its reason.

"wire" as a reason means: the existing system enforces the same number, and its users rely on it.
"""

from __future__ import annotations

# One memory (wire).
TITLE_CHARS_MAX = 512
CONTENT_BYTES_MAX = 65_536
TAGS_MAX = 50
TAG_BYTES_MAX = 128
SOURCE_BYTES_MAX = 64
METADATA_BYTES_MAX = 65_536
METADATA_DEPTH_MAX = 32
NAMESPACE_CHARS_MAX = 512
NAMESPACE_DEPTH_MAX = 8
AGENT_ID_CHARS_MAX = 128
ID_BYTES_MAX = 128
PRIORITY_MIN, PRIORITY_MAX = 1, 10
TTL_SECS_MAX = 31_536_000
CONFIG_TTL_SECS_MAX = 315_360_000
ACCESS_COUNT_MAX = 1_000_000

# One request (wire, but where a reason stands).
BODY_BYTES_MAX = 2 * 1024 * 1024
BODY_DEPTH_MAX = 128
ITEMS_MAX = 1_000
LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX = 20, 1_000
RECALL_LIMIT_DEFAULT, RECALL_LIMIT_MAX = 10, 50
INBOX_LIMIT_DEFAULT, INBOX_LIMIT_MAX = 50, 500
IDEMPOTENCY_KEY_BYTES_MAX = 255  # longer than any UUID or composite id in use; kept a day, so it must be small
QUERY_TERMS_MAX = 64  # different terms of one question: as many as a long paragraph has that carry meaning
TERM_WORDS_MAX = 16  # words of one term, such as a path or a URL: more can't make it more specific

# A server's side of a connection: what one caller may hold, and for how long.
HEAD_BYTES_MAX = 16_384  # URL included; browsers, proxies and our own clients stay below 8 KiB
HEAD_SECS = 5.0  # from a head's first byte to its last: a head fits into a few packets, so more is a drip
BODY_IDLE_SECS = 10.0  # silence in a body: longer than a lost packet's retransmissions
BODY_BYTES_PER_SEC_MIN = 4_096  # a slow modem sends as much; a byte a second is an attack
HANDSHAKE_SECS = 5.0  # of TLS, from the connect on: three round trips, and a busy loop behind them
REFUSALS_TOLD_SECS = 1.0  # between two lines of the log about refused handshakes: strangers must not fill the disk
IDLE_SECS = 75.0  # a kept connection between requests: above the 60 s that client pools and proxies default to
WRITE_STALL_SECS = 20.0  # a reply that the caller does not take: 64 KiB in 20 s is slower than any link we serve
LINGER_SECS = 2.0  # after an early error: the caller stops sending and reads it, within a round trip
LINGER_BYTES_MAX = 8 * BODY_BYTES_MAX  # what is thrown away meanwhile: a caller somewhat over the bound still sees why
READ_AHEAD_BYTES_MAX = 65_536  # bytes taken in before they are asked for, per connection: then reading pauses
WRITE_SLICE_BYTES = 65_536  # a long reply is handed to the kernel in such pieces, so that its pace is seen
CONNECTIONS_MAX = 4_096  # twice the 2,000 agents of one node; 3 KB each when idle
CONNECTIONS_REFUSED_MAX = 256  # beyond that many are told why and may linger; more are just cut
REQUESTS_IN_FLIGHT_MAX = 256  # beyond, waiting in line costs the caller more than coming back: 503
BODIES_BYTES_MAX = 128 * 1024 * 1024  # bodies held in memory at once, over all connections: then 503
RETRY_AFTER_SECS = 1  # what a 503 asks for: a group commit takes milliseconds, a drain seconds
COLLECT_AFTER = 20_000  # objects between two looks for garbage: more than 64 stores in hand are made of, 10 MB
SWEEP_SECS = 0.5  # how often deadlines are looked at: one timer for all, and none needs to be sharper

# The shared store.
STORE_CONNECTIONS_MIN = 2  # kept open, so that a burst finds some
STORE_CONNECTIONS_MAX = 8  # of one node: on two cores more than 16 in all only added latency; ten nodes fit into 100
STORE_WAITING_MAX = 2 * REQUESTS_IN_FLIGHT_MAX  # a request waits for one connection at a time, a recall for two
STORE_CONNECT_SECS = 3.0  # a server on the same site answers in milliseconds; a dead host never does
STORE_CALL_SECS = 5.0  # from the asking for a connection to the last row: what a caller waits before a 503
STORE_LOCK_SECS = 2.0  # a row is locked for one group commit, so who waits longer is stuck behind a hung node
STORE_IDLE_SECS = 300.0  # connections above the least number go again
STORE_LIFE_SECS = 1_800.0  # then replaced, so that the memory of a server's process stays bounded
STORE_WRITE_SECS = 8.0  # for a group with all attempts: longer than a stopped node may hold the writers' lock, 2 s
STORE_OPEN_SECS = 120.0  # nodes that start at once wait for each other, and for one that migrates
RECENT_ROWS_MAX, RECENT_ROW_BYTES_MAX = 4_000, 4_096  # what a node wrote last, read again in the next groups: 16 MB
FOLLOW_SECS = 0.05  # between looks for what others wrote: one row, 20 times a second, costs the server nothing
STORE_CLOCK_OFF_SECS = 2.0  # beyond, a node goes by the clock of its store's server: NTP keeps clocks far closer
STORE_LOOK_SECS = 5.0  # what `status` says of the server is no older than this: dashboards ask every 10 or 15 s
STORE_CHECK_SECS = 1.0  # for an idle connection to show that it is alive: a round trip, on a busy server
STORE_NODE_SECS = 30.0  # so long a node that is gone counts as having its store open; others look thrice as often
STORE_LEAVE_SECS = 1.0  # a node that stops waits no longer for a store that is away to hear of it
STORE_PROBE_SECS = 0.2  # between attempts to reach a server that went: an outage is over that soon after its end
REPLICA_CALL_SECS = 2.5  # of a read from a replica: half of what a caller waits, the rest is left for the primary
REPLICA_PATIENCE_SECS = 0.02  # for a replica to replay the caller's own write: it takes 2 ms, 16 ms under load
REPLICA_LOOK_SECS = 0.5  # between looks at a replica: one that came back is read from that soon
REPLICA_LAG_SECS, REPLICA_LAG_SECS_MAX = 5, 300  # how old a read may be: dashboards and agents ask less often than 5 s
CALLERS_REMEMBERED_MAX = 10_000  # whose last write a node remembers for their reads: the oldest count for all others

# A client's side of one request.
MCP_LINE_BYTES_MAX = BODY_BYTES_MAX  # a message of `aimem mcp`: what it holds becomes a body
CONNECT_SECS = 5.0  # a node on the same site answers a connect in milliseconds; a dead host never does
READ_SECS = 60.0  # silence on an open connection: above any quorum time-out and any recall
REPLY_HEAD_BYTES_MAX = 65_536
REPLY_BYTES_MAX = 256 * 1024 * 1024  # a full list of the longest memories is 64 MiB before it is escaped

# One push.
PUSH_BATCH_ITEMS = 200  # a fifth of what a request may hold: steps of progress, and little to send again after a break
PUSH_BATCH_BYTES = 512 * 1024
PUSH_LANES_DEFAULT, PUSH_LANES_MAX = 4, 32
PUSH_RETRY_SECS = 60.0  # a node that restarts is back by then
PUSH_TEXT_FILE_BYTES_MAX = 64 * 1024 * 1024  # read whole to be split; a longer one is no document
PUSH_RESUME_SECS = 86_400  # as long as a node keeps idempotency keys: an older break starts anew

# The store.
GROUP_INTENTS_MAX = 512  # writers that share one fsync; above some hundred the fsync no longer shows
WRITE_QUEUE_MAX = 20_000  # intents that wait; at 2,000 a second that is ten seconds, longer than anybody should wait
WAL_BYTES_MAX = 64 * 1024 * 1024  # the existing system's log grew to 8.4 GB; at this size ours waits for its readers
READERS = 2  # read connections, each a thread: 16 recalls at once come to 226/s with two, 179 with one, 129 with four
FEED_RARE_ROWS = 10_000  # rows of some kinds that a page of the feed looks up one by one, some 20 ms at most
READ_HERE_MAX = 4  # keys looked up on the event loop: some 30 us each, while a thread costs 150 us
REHEARSED_HERE_MAX = 32  # intents rehearsed on the event loop: some 20 us each, while a thread costs 150 us
MATCH_ALL_ROWS = 2_000  # in a store below all words are matched: 2 ms, and the common ones fill a short list
MATCH_ROWS_BUDGET = 10_000  # rows that the words of a question may find: 1 ms, 8 if all are ranked
MATCH_FILTERED_ROWS = 4_000  # in the namespaces asked for, looked up before the words: 2 us each, as each row of a word
RANKED_ROWS_BUDGET = 500  # of them ranked for one word that they hold: at 100,000 rows 995 of 1,000 best stay the same
RANKED_OF_ONE_WORD = 2_000  # of a shared store, the newest that hold it where a question has one: 15 ms
RANKED_UNDER_FILTER = 1_000  # likewise, that are expected to pass a filter and hold a word: then all are ranked
COUNTED_EXACTLY_ROWS = 50_000  # of a shared store: up to so many, counting the rows of the commonest word takes 10 ms
TERM_STATISTICS_SECS = 300.0  # between two looks at the server's statistics of words: it gathers them as rarely
TERM_COUNTS_KEPT = 10_000  # words whose row count is remembered: more than the words that questions share
COPY_CHUNK_BYTES = 1024 * 1024  # of a backup in memory at once while it is restored
BACKUPS_KEPT = 48  # two days of one an hour (wire)
SCAN_BATCH = 1_000  # records in memory at once while a whole kind is read

# Embedding and the vector index.
TOKENIZER_WORDS_MAX = 20_000  # words whose pieces are remembered, then forgotten all at once: some 3 MB
TOKENIZER_CHARACTERS_MAX = 20_000  # likewise for characters: any living script fits
PIECES_MAX = 16  # parts of one long text that are embedded: 16 * 222 tokens, some 2,700 words
EMBED_QUEUE_MAX = 4_096  # texts waiting for the background embedders: minutes of work, 1 GB at the very worst

# A node: what it does for one request, and behind them.
ID_PREFIX_MATCHES_SHOWN = 20  # ids in the error for a prefix that several share: enough to choose from
CONTRADICTIONS_MAX = 5  # ids of similar titles in the reply of a store (wire)
CONTRADICTIONS_ROWS_MAX = (
    1_000  # up to so many memories each store looks for them unasked: some 0.3 ms; then on request
)
QUESTION_CHARS_EMBEDDED_MAX = 32_768  # more than the model reads of any question, and tokenized in some milliseconds
CHANGES_LIMIT_DEFAULT, CHANGES_LIMIT_MAX = 100, 1_000
CHANGES_BYTES_MAX = 1024 * 1024  # of one page of the feed; one record alone may exceed it
EMBED_BATCH = 32  # memories whose vectors share one write: half a second of work, and so much to do again after a kill
EMBED_ADVANCE_EVERY = 10_000  # changes that needed no embedding, after which the position is kept all the same
TOUCH_FOLD_SECS = 3.0  # between two writes of gathered touches: the price of a recall must not be an fsync
TOUCH_FOLD_BATCH = 256  # touches in one write: other writers wait for it no longer than for a group of their own
TOUCHES_WAITING_MAX = 100_000  # memories with gathered touches, some 20 MB; the disk must be full for long to get there
TOMBSTONE_WAIT_DAYS_MAX = 365  # for a peer that has not read it: outages last a year at most, then disks need the room
HOUSEKEEPING_SECS = 60.0  # a minute more of life after a grace of an hour is nothing
HOUSEKEEPING_BATCH = 200  # records ended or swept in one write: some 20 ms of the writer
HOUSEKEEPING_BATCHES_MAX = 50  # in one round, so that 10,000 a minute end: far above what a node can store for long
PASSING_COUNTED_SECS = 30.0  # how long it is remembered how many memories a namespace has: it decides about cost alone
SEARCH_SECS = 2.0  # of a shared store for one search by vector: then it says what it has, and that it was cut short
GRAPH_MEMORY_KB_MAX = (
    2_097_152  # of the server while a graph is built: 1.5 KB a row; with less it takes six times longer
)
PARTITIONS_MAX = 64  # of the vectors of a shared store: a search across all roots asks each of them
SETTLE_VECTORS_SECS = 1.0  # between two looks of a shared store for new vectors: recall knows their words meanwhile
SETTLE_BATCH = 200  # memories in one transaction: a second at the price of an insert into a graph of a million
EXACT_SEARCH_ROWS_MAX = 20_000  # below, a graph saves nothing: some 15 ms, and its answer may be wrong
EXACT_SEARCH_TRIED_MAX = 200_000  # up to so many a graph that they are a small share of is slower still
EMBED_LEASE_SECS = 15.0  # a node that embeds for all and died is replaced after it: three polls, each with a margin
RECALL_CHECK_EVERY = 50  # of so many recalls by meaning one is checked against exact search, which is slow at a million
RECALL_CHECKS_KEPT = 50  # the gauge is their mean: some thousand recalls
BACKGROUND_RETRY_SECS = 2.0  # before failed background work begins again
CONSOLIDATE_MIN, CONSOLIDATE_MAX = 2, 100  # memories that become one (wire)

# Taking in a database of the existing system.
MIGRATE_BATCH_RECORDS = 4_000  # in one group commit: fewer and longer ones merge the word index less often
MIGRATE_BATCH_BYTES = 4 * 1024 * 1024  # likewise, for long memories: each takes several times that in memory
MIGRATE_BATCHES_IN_FLIGHT = 3  # one is written, the next is ready for the writer, a third is read meanwhile
MIGRATE_YIELD_GROUPS = 16  # read at once, before the writer gets its turn: about a millisecond
MIGRATE_SHARED_INTENTS = 500  # at once to a shared store: well within its deadline of a write on a busy machine
LOAD_SEEN_BITS = 27  # 16 MB: of an address or a family two bits are set
LOAD_SEEN_ROWS = 10_000  # read at once when a load goes on that was broken off: a MB
LOAD_SPELL_TEXTS = 128  # memories whose words are spelled at once: some 5 ms of work, 300 kB
LOAD_SPELL_BESIDE = 100  # of fewer at once the words are spelled sooner than a process for that has started
LOAD_STEP_INTENTS = 16  # in one go, of a group that is run while the server takes in the one before: a millisecond
LOAD_LINES = 64  # rows sent at once: 80 kB, half a millisecond's work
LOAD_PIPE_BYTES = 512 * 1024  # for the words of so many; asyncio takes out half of it in one go
LOAD_SETTLE_BATCH = 2_000  # memories whose vectors are put in at once behind a load: 8 MB of them, nobody waits
LOAD_MEMORY_KB = 262_144  # of the server for each index behind a load: a million memories fit
MIGRATE_READ_ROWS = 128  # rows read at once: 16 MB of the longest memories
MIGRATE_NOTES_MAX = 10_000  # things not taken or repaired that are named; the rest is counted
MIGRATE_CALL_SECS = 30.0  # for a page of a node's feed, which may be busy with its own
MIGRATE_FOLLOW_SECS = 1.0  # between two looks at the feeds: what is left to copy at the cut-over
MIGRATE_TARGET_SECS = 60.0  # a cut-over waits so long for the follower to let go of the target
COPY_ATTEMPTS_MAX = 20  # a log starts anew at most once in a few thousand writes, so a second attempt is rare
COPY_LOCK_SECS = 30.0  # writers hold their locks for milliseconds, a checkpoint of a large log for seconds
SALVAGE_GAP_MAX = 1 << 24  # row numbers stepped over, ever faster, before the rest of a damaged table is given up
ARCHIVE_LIMIT_DEFAULT, ARCHIVE_LIMIT_MAX = 50, 1_000  # (wire)
ARCHIVE_OFFSET_MAX = (1 << 63) - 1
FORGET_BATCH = 200  # memories in one write: some 20 ms of the writer
IMPORT_BATCH = 200  # likewise, of lines
IMPORT_ERRORS_TOLD_MAX = 100  # bad rows that a reply names one by one; the rest is counted
EXPORT_PAGE_ROWS, EXPORT_PAGE_BYTES = 500, 1024 * 1024  # of the feed in memory at once while all of it is exported

# The mesh.
RECORD_BYTES_MAX = 1_000_000  # of one record: it must fit into a message to another node; a memory has 200 KB
EMBED_PATIENCE_SECS = 60.0  # a memory from elsewhere waits so long for its vector: then its writer may be gone
MESH_BATCH_RECORDS = 500  # records of one message: a group commit of some tens of milliseconds at the receiver
MESH_BATCH_BYTES = 1_048_576  # half a body: one record of the largest size always fits beside it
MESH_QUEUE_BYTES = 16 * 1024 * 1024  # waiting for one peer in memory; what overflows is read from the feed again
MESH_QUESTIONS = 500  # of one message, some 60 bytes each
MESH_PAGE_HEADS = 2_000  # heads of one page of a feed: some 200 KB
MESH_TAIL_HEADS = 10_000  # of the last changes in memory, some 4 MB: what a busy fleet does between two catch-ups
MESH_ITEMS_KEPT = 20_000  # pushes whose outcomes are still awaited: the writes of ten seconds
MESH_BUCKETS_COMPARED = 16  # of 256, in one look: at a million records some 60,000 heads, 6 MB
MESH_CALL_SECS = 15.0  # one message to a peer, a page of its feed included: a slow link moves 1 MiB in that time
MESH_BACKOFF_SECS = 0.2, 15.0  # the first and the longest pause before a peer that failed is tried again
MESH_GAP_SECS = 2.0  # how long a peer that came back may fetch what it missed before it is pushed there
MESH_PACE_SECS = 0.01  # between two messages to a peer that no quorum needs: what one writer does meanwhile shares one
MESH_SMOOTH = 8  # messages that the answering time of a peer is smoothed over
MESH_LATE_SHARE = 0.05  # of the quorum timeout: when a peer has not answered by then, those not asked yet are
MESH_READ_SHARE = 0.25  # of the quorum timeout, at most, goes to asking before a write
MESH_CLAIM_SECS = 2.0  # how long one catch-up leaves a record to another, which fetches it from its own peer
MESH_HURRY_SECS = 1.0  # between the catch-ups of a node that is new or was away too long: it does no part until then
MESH_KEEP_POSITIONS_SECS = 5.0  # how often it is written down how far each peer has got
QUARANTINE_LISTED_MAX = 1_000
QUARANTINE_RECORDS_MAX = 100_000  # some 100 MB of rows that nobody can use: beyond, something is badly wrong
MESH_READERS_KEPT = 1_000  # stores of which it is known how far they have read the feed: a fleet, and its past

# Knowledge: namespaces, entities, the graph.
TAXONOMY_LIMIT_DEFAULT, TAXONOMY_LIMIT_MAX = 1_000, 10_000  # namespaces of one tree (wire)
ALIASES_MAX = 50  # names of one entity in one request: as many as a memory has tags
GRAPH_DEPTH_MAX = 5  # links between a memory and what is found from it (wire)
GRAPH_LIMIT_DEFAULT, GRAPH_LIMIT_MAX = 200, 1_000  # links of one answer (wire)
LINEAGE_NODES_MAX = 1_000  # of one answer: a page
CONTRADICTIONS_LIMIT_DEFAULT, CONTRADICTIONS_LIMIT_MAX = 50, 1_000  # memories of one answer (wire)
CONTRADICTION_PAIRS_MAX = 10_000  # two of a thousand memories each: half a million would be 70 MB
SESSION_LIMIT_DEFAULT, SESSION_LIMIT_MAX = 10, 50  # memories that a session starts with (wire)
DUPLICATE_THRESHOLD, DUPLICATE_THRESHOLD_MIN = 0.85, 0.5  # cosine (wire)
DUPLICATE_CANDIDATES = 3  # compared closely: the first look differs by author and date alone
ROWS_READ_AT_ONCE = 500  # while all of a namespace is read: the event loop gets its turn between

# Control.
AGENT_TYPE_CHARS_MAX = 64
WEBHOOK_URL_CHARS_MAX = 2_048  # as long as what common servers and proxies take
WEBHOOK_SECRET_BYTES_MAX = 1_024  # longer ones add nothing to HMAC-SHA256
SUBSCRIPTIONS_MAX = 1_000  # each write asks all of them whether they hear it: a millisecond
WEBHOOK_SECS = 10.0  # one delivery, connecting and the reply's head included (wire)
WEBHOOK_REPLY_BYTES_MAX = 65_536  # of a reply that is read to keep its connection; a longer one costs less to close
WEBHOOK_CONNECTIONS = 4  # to one receiver at once: 1,000 a second at 4 ms each; more would crowd a small one
WEBHOOK_SENDING_MAX = 256  # deliveries on their way at once: 256 receivers that hang hold up the others at most 10 s
WEBHOOK_QUEUE_MAX = 1_000  # events in memory for one receiver, 1 MB; what overflows is read from the feed again
WEBHOOK_BACKOFF_SECS = 0.2, 300.0  # the first and the longest pause before a receiver that failed is tried again
WEBHOOK_GIVE_UP_SECS = 21_600.0  # then an event is a dead letter: longer than any restart, shorter than a night's sleep
WEBHOOK_NOTE_SECS = 0.1  # between two notes of what was told: what a crash in between has told twice
WEBHOOK_NOTE_EVENTS = 64  # ends in one write: other writers wait some milliseconds for it
WEBHOOK_TAKE_OVER_SECS = 1.0, 4.0  # before the events of a node that fell silent are told by another: one goes first
WEBHOOK_ORPHAN_SECS = 300.0  # likewise where nobody knows whose they are: its peers come first
WEBHOOK_IDLE_SECS = 30.0  # a connection to a receiver between deliveries: below the 60 s that servers default to
DEAD_LETTERS_LIMIT_DEFAULT, DEAD_LETTERS_LIMIT_MAX = 100, 1_000  # of one list, and of one replay
CAPABILITIES_MAX = 50  # of one agent: as many as a memory has tags
CHAINS_MAX = 16_384  # namespaces whose rules are kept as every write asks for them: 0.5 KB each, 8 MB
CONSENSUS_MAX = 100  # votes that a policy may ask for: more agents than ever watch one queue
ELECTORS_MAX = 5  # stores that decide about a parked action: two of them may be lost
DECIDE_ATTEMPTS = 5  # proposals that cross, before others go first: two proposers hardly cross twice
DECIDE_PAUSE_SECS = 0.2, 1.0  # before an elector proposes what another should have: some round trips and more
DECISION_PATIENCE_SECS = 2.0  # how long a vote that decides waits for the electors to say so: as for a quorum
DECIDE_CLOCK_SECS = 30.0  # how late an action may end when the clock is set: a look at it costs nothing
DECIDE_RETRY_SECS = 1.0, 5.0  # between attempts while no majority of the electors can be reached
PENDING_SECS_MAX = 31_536_000  # how long a policy lets an action wait: a year, as long as a store may be away
QUEUE_SHOWN_BYTES = 8 * 1_048_576  # JSON of open actions kept once shown: 8,000 of 1 KB, 40 MB; a page costs half
PENDING_LIMIT_DEFAULT, PENDING_LIMIT_MAX = 100, 1_000  # parked actions of one list (wire)

# Nodes of the existing system.
LEGACY_PUSH_MAX = 1_000  # items of one list in a push; theirs is the same, but for links, which they do not bound
LEGACY_BATCH_RECORDS = 200  # of one push to them: a second of work for a node that stores some 200 a second
LEGACY_BATCH_BYTES = 1_048_576  # their body is 2 MiB; JSON with their field names is less than twice the record
LEGACY_CALL_SECS = 15.0  # one push or page; they answer one request at a time
LEGACY_PAGE_ROWS, LEGACY_PAGE_ROWS_MAX = 500, 10_000  # of one page read from them; the most that they give
LEGACY_REREAD_SECS = 3_600.0  # between readings of all that they hold: a row may come to them with an old stamp
LEGACY_OVERLAP_NS = 60 * 10**9  # how far a reading between goes back, for the same reason
LEGACY_SERVED_ROWS, LEGACY_SERVED_BYTES = 1_000, 1_048_576  # a page for them: it must reach them within their 1.5 s
LEGACY_SERVED_TIMES = 2  # how often rows are shown to one of them before they count as seen, where nothing tells
LEGACY_EARLY_KEPT = 10_000  # deletes that came before their row: some seconds of what one of them can send
LEGACY_EARLY_SECS = 5.0  # how far a row may come behind its delete: they try for 1.5 s, twice
LEGACY_CURSORS_KEPT = 64  # places in our feed kept for those who read it by their stamps, the newest
