"""Moving what one store holds into another: `aimem migrate` between databases of this program.

`source` says what is asked of a store that is read, `snapshot` reads one of our SQLite files from a copy, `copying`
takes a feed in, `settling` carries over what is no record in a feed, `verifying` compares. A source is never written.

It may be broken off at any instant and run again: how far each feed was read is kept in the target, behind the records.
"""
