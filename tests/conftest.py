"""What holds for all tests: properties are tried on the same examples in every run, so a red test stays red."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("same every time", derandomize=True, deadline=None, database=None)
settings.load_profile("same every time")
