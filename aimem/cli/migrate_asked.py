"""What a run of `aimem migrate` was asked for, and which flags do not fit together."""

from __future__ import annotations

from typing import NamedTuple

from aimem.errors import Usage


class Asked(NamedTuple):
    """The flags of one run. `target` is empty where none was given; `lost` names nodes as they are known or reached."""

    sources: tuple[str, ...]
    target: str
    lost: tuple[str, ...] = ()
    merge: bool = False
    verify: bool = False
    retired: bool = False
    dry_run: bool = False
    follow: bool = False
    cutover: bool = False
    unfence: bool = False

    @property
    def nodes(self) -> tuple[str, ...]:
        """The sources that are running nodes; after `check` all of them, or none."""
        return tuple(source for source in self.sources if source.startswith(("http://", "https://")))

    def check(self) -> None:
        """Raises:
        Usage: flags that do not fit together.
        """
        if self.nodes and len(self.nodes) < len(self.sources):
            raise Usage("files and nodes in one run", hint="take in the files first, then the nodes with --merge")
        if (self.follow or self.cutover or self.unfence) and not self.nodes:
            raise Usage("--follow, --cutover and --unfence are for running nodes", hint="give their URLs with --from")
        if self.unfence:
            self._check_alone()
        elif not self.target:
            raise Usage("Missing option '--to'.", hint="`aimem migrate --help` tells what it takes")
        if self.follow and self.cutover:
            raise Usage("--follow and --cutover are two steps", hint="run --follow first, and --cutover to end it")
        if self.nodes and self.dry_run:
            raise Usage("--dry-run is for files", hint="aimem stats --to URL counts what a node holds")
        if self.verify and (self.dry_run or self.follow):
            raise Usage(
                "--verify compares what was copied: not with --dry-run or --follow", hint="--cutover compares too"
            )
        if self.lost and not self.cutover:
            raise Usage("--lost is for --cutover")
        if self.nodes and self.retired:
            raise Usage("--retired is for files and shared stores", hint="--cutover ends what waits at running nodes")

    def _check_alone(self) -> None:
        others = (self.follow, self.cutover, self.verify, self.merge, self.retired, self.dry_run)
        if any(others):
            raise Usage("--unfence takes the fence away, and does nothing else", hint="give it with --from alone")
