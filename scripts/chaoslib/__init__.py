"""What `scripts/chaos` is made of. Standard library only, and bounds from `aimem.limits`.

`mesh` is what is hurt, `faults` what hurts it, `writers` who writes meanwhile, `ledger` what they were told, `judge`
what became of that. `campaign` runs cycles of it, `bound` and `report` say what the cycles amount to.
"""
