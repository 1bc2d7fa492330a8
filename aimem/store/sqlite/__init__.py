"""The embedded store: one SQLite file per node.

`opening` decides whether a file may be used at all, `beginning` opens it, `schema` shapes it, `table` writes records
inside a transaction, `writer` groups writers into one fsync, `reading` answers from connections of its own, `store`
joins them.
"""
