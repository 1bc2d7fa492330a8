"""The use cases of a node over a store: write, read, recall, and what runs in the background. No HTTP, no SQL."""
