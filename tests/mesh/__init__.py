"""The mesh as it runs: real processes, real certificates, signals."""
