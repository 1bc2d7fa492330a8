"""What goes wrong while callers write. To add a class of faults, add it to `CLASSES`.

A class says what must be possible to every node (`needs`); where it is not, it is skipped and said (`why_not`).
"""

from __future__ import annotations

from chaoslib.fault import Fault
from chaoslib.fault_lines import Bridge, LostAcks, Minority, OneWay, Rack, Slow, Zone
from chaoslib.fault_nodes import Backup, Clock, FullDisk, Kill, Stop
from chaoslib.fault_turns import Failover, RollingRestart, RollingUpgrade

CLASSES: dict[str, type[Fault]] = {
    "upgrade": RollingUpgrade,
    "kill": Kill,
    "stop": Stop,
    "minority": Minority,
    "rack": Rack,
    "zone": Zone,
    "bridge": Bridge,
    "one-way": OneWay,
    "lost-acks": LostAcks,
    "slow-link": Slow,
    "clock": Clock,
    "full-disk": FullDisk,
    "backup": Backup,
    "restart": RollingRestart,
    "failover": Failover,
}
"""Every class of faults, by its name on the command line."""
