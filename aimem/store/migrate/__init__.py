"""Taking in databases of the existing system: `aimem migrate`.

Of a file `copying` makes a consistent copy aside, `source` opens it, checks that it is what we know and reads its rows,
also where it is damaged; `postgres` does so with a database of a server; `tables` says which rows. `mapping` turns the
rows of all sources into labelled intents (the rules are in `core.legacy`), `running` writes them in batches, `report`
counts. A source is never written, and nothing stays beside it.

It may be killed at any instant and run again: every intent merges, so what is there already changes nothing.
"""
