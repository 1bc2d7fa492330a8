"""One file per kind of operation: written through one node, read on all. See `scripts/scenarios` for a live mesh."""
