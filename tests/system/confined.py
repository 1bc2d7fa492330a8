"""Run a command under the system call filter of aimem.service and without memory that is written and executed.

What systemd does with `SystemCallFilter` and `MemoryDenyWriteExecute`, by the library that it does it with. Not here:
file systems, users, devices.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

from aimem.cli.unit_files import UNITS

_ALLOW, _EPERM = 0x7FFF0000, 0x00050001
_SET_NO_NEW_PRIVS, _SET_MDWE, _REFUSE_EXEC_GAIN = 38, 65, 1


def calls(name: str) -> set[str]:
    """The system calls of a set of systemd's."""
    listed = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
    words = [line.strip() for line in listed.stdout.splitlines() if line.startswith("    ")]
    found = {word for word in words if word[:1] not in "@#"}
    return found.union(*(calls(word) for word in words if word.startswith("@")))


def allowed() -> set[str]:
    """What the unit allows."""
    found: set[str] = set()
    for line in UNITS["aimem.service"].splitlines():
        if line.startswith("SystemCallFilter=~"):
            found -= calls(line.partition("~")[2])
        elif line.startswith("SystemCallFilter="):
            found |= calls(line.partition("=")[2])
    return found


def main() -> None:
    seccomp, libc = ctypes.CDLL("libseccomp.so.2"), ctypes.CDLL(None)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(_EPERM))
    for name in sorted(allowed()):
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            seccomp.seccomp_rule_add(context, _ALLOW, number, 0)
    if "MemoryDenyWriteExecute=yes" in UNITS["aimem.service"] and libc.prctl(_SET_MDWE, _REFUSE_EXEC_GAIN, 0, 0, 0):
        sys.exit("the kernel has no PR_SET_MDWE")
    if libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or seccomp.seccomp_load(context):
        sys.exit("the filter can't be loaded")
    os.execv(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
