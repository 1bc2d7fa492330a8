"""What `scripts/bench` is made of. Standard library only, so that the load generator weighs as little as it can."""
