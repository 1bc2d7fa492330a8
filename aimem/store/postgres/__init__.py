"""The shared store: one PostgreSQL with pgvector behind many nodes. Join: `opening.open_store`."""
