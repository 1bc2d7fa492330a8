"""The harness that hurts a mesh: its judgement, its figures, and runs of it against real nodes."""
