"""What scripts/interop is made of."""
