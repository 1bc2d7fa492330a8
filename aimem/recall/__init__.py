"""Recall by meaning: text to vectors, and the vectors nearest to a question. Nothing here knows the store or HTTP."""
