"""The command line: one file per subcommand. A command parses, calls one function, and prints.

Whatever is slow to import is imported inside the command that needs it.
"""
