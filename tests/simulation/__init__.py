"""The simulator: the real core, node and mesh over the store in memory, with clock, network and disk simulated."""
