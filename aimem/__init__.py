"""aimem: one memory for the agents of a fleet. The folders, from faces to rules, are listed in the README."""

__version__ = "0.1.0"
