"""What `scripts/soak` is made of. Standard library only."""
