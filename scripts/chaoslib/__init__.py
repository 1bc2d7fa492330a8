"""What `scripts/chaos` is made of. Standard library only, and bounds from `aimem.limits`.

`mesh` is what is hurt, `faults` what hurts it, `writers` and `rulers` who write meanwhile, `ledger` what they were
told, `judge` and `finality` what became of that. `campaign` runs cycles of it, `bound` and `report` say what the cycles
amount to. `shared_store` needs the development environment; all else does without.
"""
