"""Peers: what makes nodes one memory. Asking before a write, pushing after it, catching up, and judging what comes in.

Nothing here knows HTTP or TLS: messages go through a `Transport`, and come in through `Mesh.answer`. Which records win
is decided in `core`, and how they are kept in the store.
"""
