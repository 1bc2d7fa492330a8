"""The systemd units: the node, the backup with its timer, and the migration of the old program's database.

`{program}` stands for the path of the executable. All services share one dynamic user and its state directory, and one
set of restrictions; local changes belong in drop-ins (`systemctl edit aimem`).
"""

from __future__ import annotations

from typing import Final

# @system-service without @privileged: vector search and the model need threads and their placement (@resources), no
# device, and read /proc/cpuinfo (so no ProcSubset). Only a node gets memory that is both written and executed: through
# it the TLS library asks whom to let in.
_RESTRICTIONS: Final = """\
DynamicUser=yes
User=aimem
UMask=0077
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
PrivateTmp=yes
PrivateDevices=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
StateDirectoryMode=0700
CacheDirectoryMode=0700
"""

_ALONE: Final = "MemoryDenyWriteExecute=yes\nPrivateNetwork=yes\nRestrictAddressFamilies=AF_UNIX\n"

UNITS: Final[dict[str, str]] = {
    "aimem.service": f"""\
[Unit]
Description=aimem: a durable memory for AI agents
Documentation=man:aimem(7) man:aimem-serve(1)
After=network.target

[Service]
Type=notify
NotifyAccess=main
ExecStart={{program}} serve
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=1
RestartPreventExitStatus=78
WatchdogSec=30
TimeoutStartSec=10min
TimeoutStopSec=45
LimitNOFILE=16384
StateDirectory=aimem
CacheDirectory=aimem
# A secret comes as a credential, never in the environment; the program finds it in %d/:
#LoadCredential=client-key.pem:/etc/aimem/client-key.pem
{_RESTRICTIONS}RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
CapabilityBoundingSet=

[Install]
WantedBy=multi-user.target
""",
    "aimem-backup.service": f"""\
[Unit]
Description=Backup of the aimem database
Documentation=man:aimem-backup(1)
ConditionPathExists=%S/aimem/aimem.db

[Service]
Type=oneshot
ExecStart={{program}} backup --to %S/aimem-backups
Nice=10
IOSchedulingClass=idle
StateDirectory=aimem aimem-backups
{_RESTRICTIONS}{_ALONE}CapabilityBoundingSet=
""",
    "aimem-backup.timer": """\
[Unit]
Description=Hourly backup of the aimem database
Documentation=man:aimem-backup(1)

[Timer]
OnCalendar=hourly
RandomizedDelaySec=5min
Persistent=yes

[Install]
WantedBy=timers.target
""",
    # The old database belongs to somebody else: this one service may read any file, and only read.
    "aimem-migrate.service": f"""\
[Unit]
Description=Migration of the old program's database to aimem
Documentation=man:aimem-migrate(1)
Before=aimem.service

[Service]
Type=oneshot
Environment=SOURCE=/var/lib/ai-memory/ai-memory.db
ExecStart={{program}} migrate --from ${{SOURCE}} --to %S/aimem/aimem.db
StateDirectory=aimem
{_RESTRICTIONS}{_ALONE}CapabilityBoundingSet=CAP_DAC_READ_SEARCH
AmbientCapabilities=CAP_DAC_READ_SEARCH
""",
}


def units(program: str) -> dict[str, str]:
    """The text of each unit, by file name; `program` is the path of the executable."""
    return {name: text.replace("{program}", program) for name, text in UNITS.items()}
