"""A network inside one machine: a namespace for each node, a bridge for each rack, and between racks a router.

Everything lives in namespaces of the run's own (`enter`), which vanish with its last process: nothing of the machine is
touched, nothing is left behind, and no node outlives the run. Agents reach a node by a line beside the racks, so that a
cut between nodes does not cut it off from its callers.

A cut is made where a packet arrives: there a rule drops it without a word, as a broken line does. Only rules, routes
and `tc tbf` are used, which every kernel has; neither nftables nor netem is needed.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping

Line = tuple[str, str]
"""A direction between two nodes: sender, receiver."""

_INSIDE = "AIMEM_CHAOS_INSIDE"
_TOOLS = ("ip", "tc", "unshare", "nsenter", "mount")
_NO_NAMESPACES = 78
_PR_SET_PDEATHSIG = 1


def why_not() -> str | None:
    """Why there can be no network of our own here; None where there can."""
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        return f"{', '.join(missing)} missing; on Debian: apt-get install iproute2 util-linux"
    probe = "ip netns add probe && ip link add probe type veth peer name probe0 && ip link add probe1 type bridge"
    words = [*_unshare(), "sh", "-ec", f"{_FOLDER} && {probe}"]
    done = subprocess.run(words, capture_output=True, text=True)
    return None if done.returncode == 0 else f"network namespaces are not to be had: {done.stderr.strip()[-200:]}"


_FOLDER = "mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns"


def enter() -> None:
    """Run this very command anew in namespaces of its own, where it comes here again and goes on; then exit as it did.

    Exits with 78 and the reason where that can't be. However either is ended, all that it started ends with it.
    """
    if os.environ.get(_INSIDE):
        subprocess.run(["sh", "-ec", f"{_FOLDER}; ip link set lo up"], check=True)
        return
    if (reason := why_not()) is not None:
        print(f"chaos: {reason}", file=sys.stderr)
        raise SystemExit(_NO_NAMESPACES)
    words = [*_unshare(), sys.executable, *sys.argv]
    inside = subprocess.Popen(words, env={**os.environ, _INSIDE: "1"}, preexec_fn=_die_with_parent)
    signal.signal(signal.SIGTERM, lambda *_: inside.kill())  # `unshare` itself lets it pass by
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one inside has it too
    raise SystemExit(inside.wait())


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _unshare() -> list[str]:
    words = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return words if os.geteuid() == 0 else [*words, "--user", "--map-root-user"]


class Network:
    """The lines between nodes. `rack_of` says where each node stands."""

    AGENTS, OF_AGENTS = "10.99.255.254", "10.99.0.0/16"
    """Where nodes reach what is beside all racks, and the network of their own addresses there."""

    def __init__(self, rack_of: Mapping[str, str]) -> None:
        self._names = list(rack_of)
        racks = list(dict.fromkeys(rack_of.values()))
        self._rack = {name: racks.index(rack) for name, rack in rack_of.items()}
        self._cut: set[Line] = set()
        self._slow: set[str] = set()
        _ip(["link add agents type bridge", f"addr add {self.AGENTS}/16 dev agents", "link set agents up"])
        for rack in range(len(racks)):
            made = f"link add rack{rack} type bridge", f"addr add 10.1.{rack}.254/24 dev rack{rack}"
            _ip([*made, f"link set rack{rack} up"])
        with open("/proc/sys/net/ipv4/ip_forward", "w") as switch:
            switch.write("1")
        for name in self._names:
            self._connect(name)

    def _connect(self, name: str) -> None:
        number, rack = self._names.index(name), self._rack[name]
        subprocess.run(["ip", "netns", "add", name], check=True)
        _ip(
            [
                f"link add p{number} type veth peer name eth0 netns {name}",
                f"link add a{number} type veth peer name eth1 netns {name}",
                f"link set p{number} master rack{rack} up",
                f"link set a{number} master agents up",
            ]
        )
        _ip(
            [
                f"addr add {self.address(name)}/24 dev eth0",
                f"addr add {self.agent_address(name)}/16 dev eth1",
                *("link set lo up", "link set eth0 up", "link set eth1 up"),
                f"route add default via 10.1.{rack}.254",
                *("rule add pref 100 table local", "rule del pref 0"),  # so that a cut comes before it
            ],
            name,
        )

    def address(self, name: str) -> str:
        """Where other nodes reach it."""
        return f"10.1.{self._rack[name]}.{self._names.index(name) + 1}"

    def agent_address(self, name: str) -> str:
        """Where its callers reach it, whatever is cut."""
        return f"10.99.0.{self._names.index(name) + 1}"

    def within(self, name: str) -> list[str]:
        """The words before a command that run it in the namespace of a node."""
        return ["nsenter", f"--net=/run/netns/{name}", "--"]

    def cut(self, lines: Iterable[Line]) -> None:
        """From now on nothing gets through in these directions."""
        rules = defaultdict(list)
        for sender, receiver in set(lines) - self._cut:
            self._cut.add((sender, receiver))
            rules[receiver].append(f"rule add pref 10 from {self.address(sender)} blackhole")
        for receiver, commands in rules.items():
            _ip([*commands, "route flush cache"], receiver)

    def join(self) -> None:
        """Nothing is cut any more."""
        rules = defaultdict(list)
        for sender, receiver in self._cut:
            rules[receiver].append(f"rule del pref 10 from {self.address(sender)} blackhole")
        self._cut.clear()
        for receiver, commands in rules.items():
            _ip([*commands, "route flush cache"], receiver)

    def slow(self, name: str, kbit: int) -> None:
        """From now on a node's line to the others carries so many kbit a second, each way."""
        self._slow.add(name)
        limit = f"root tbf rate {kbit}kbit burst 8kb latency 1s".split()
        number = self._names.index(name)
        subprocess.run([*self.within(name), "tc", "qdisc", "replace", "dev", "eth0", *limit], check=True)
        subprocess.run(["tc", "qdisc", "replace", "dev", f"p{number}", *limit], check=True)

    def fast(self) -> None:
        """No line is slow any more."""
        for name in self._slow:
            number = self._names.index(name)
            subprocess.run([*self.within(name), "tc", "qdisc", "del", "dev", "eth0", "root"], check=True)
            subprocess.run(["tc", "qdisc", "del", "dev", f"p{number}", "root"], check=True)
        self._slow.clear()


def _ip(commands: Iterable[str], name: str | None = None) -> None:
    words = (
        ["ip", "-batch", "-"] if name is None else ["nsenter", f"--net=/run/netns/{name}", "--", "ip", "-batch", "-"]
    )
    subprocess.run(words, input="\n".join(commands), text=True, check=True)
