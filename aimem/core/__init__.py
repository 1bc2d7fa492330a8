"""The pure rules. No I/O, no clock, no randomness: time, ids and what is stored come in as values.

The simulator runs exactly this code. Nothing here imports a third-party package or a folder above.
"""
