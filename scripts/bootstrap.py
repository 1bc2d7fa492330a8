# The first thing that runs of the one file: finds a Python that fits, puts the modules compiled for it on the path.
# Must be readable by any Python 3, so it is written for the oldest; nothing is imported that a thin command can spare.
import os
import sys

NEWEST_KNOWN = 13
OLDEST = (3, 11)


def _another_python():
    """A newer interpreter on the path, or None. One that native parts are carried for comes first."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    names = ["python3.%d" % minor for minor in range(NEWEST_KNOWN, OLDEST[1] - 1, -1)]
    for name in names + ["python3"]:
        for folder in folders:
            found = os.path.join(folder, name)
            if os.access(found, os.X_OK) and not os.path.isdir(found) and _works(found):
                return found
    return None


def _works(python):
    """Whether it is one: a version manager may have put a name there that leads nowhere."""
    import subprocess

    probe = "import sys; sys.exit(sys.version_info < (%d, %d))" % OLDEST
    with open(os.devnull, "w") as nothing:
        return subprocess.call([python, "-I", "-c", probe], stdout=nothing, stderr=nothing) == 0


def _start():
    here = os.path.abspath(sys.path[0] if os.path.isfile(sys.path[0]) else sys.argv[0])
    if sys.version_info < OLDEST:
        found = _another_python()
        if found is None:
            sys.stderr.write(
                "aimem: this is Python %d.%d; aimem needs Python 3.11 or newer, and finds none on the PATH\n"
                "aimem: install one (Debian 12: apt-get install python3; else python3.11 or newer)\n"
                % sys.version_info[:2]
            )
            sys.exit(78)
        isolated = ["-I"] if getattr(sys.flags, "isolated", 0) else []
        os.execv(found, [found] + isolated + [here] + sys.argv[1:])
    compiled = os.path.join(here, "python%d%d" % sys.version_info[:2])
    sys.path[0:1] = [compiled, os.path.join(here, "python")]
    from aimem.cli.main import main

    sys.exit(main())


_start()
