"""Tests of connections: reading, answering, bounds, and the blocking client."""
