"""The store in memory: the oracle that other stores are tested against. Nothing is kept between processes.

`state` is what it holds, `transaction` changes a copy of it, `reading` answers from it, `store` joins them. A write
costs as much as the store holds: this is for tests and small things.
"""
