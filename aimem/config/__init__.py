"""Settings: the file, the environment and the flags, and who wins: flag over environment over file.

What a file may say is in `file`, what comes of all three in `settings`: `client` makes those of a command, `serve`
those of a node; `fitting` refuses what does not go together. Nothing here opens a database or a socket.
"""
