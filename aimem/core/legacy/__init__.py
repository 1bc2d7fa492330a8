"""What a row of the existing system's database (schema 16) becomes here: pure rules, one function a table.

`values` reads single columns leniently, `memories` maps memories and archived ones and unites what several databases
say of one id, `others` maps all else. What always holds: a result depends on the rows alone (and, for rows stamped in
the future, on the time of migration), so several diverged databases give one state in whatever order they come.

The version of what was migrated is the time that its row was last written, under an origin below that of any node.
"""
