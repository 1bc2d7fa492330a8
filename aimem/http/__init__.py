"""The HTTP face: `routes` is the one table of what is served, handlers stand by topic, `app` is the process.

A handler parses, calls one use case of the node, and replies. What a request's bytes are is decided in `net`, what a
write does in `core`. The OpenAPI document, the Allow headers and a test of the whole surface are made from the table.
"""
