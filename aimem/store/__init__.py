"""Stores: where records live. `base` is the contract, `memory` the oracle, `sqlite` the embedded store."""
