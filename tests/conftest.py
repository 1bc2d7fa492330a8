"""What holds for all tests: properties are tried on the same examples in every run, so a red test stays red; and a real
Postgres for the tests that ask for one."""

from __future__ import annotations

from hypothesis import settings

from .postgres_fixtures import database, new_postgres, postgres  # noqa: F401 - fixtures for every folder

settings.register_profile("same every time", derandomize=True, deadline=None, database=None)
settings.load_profile("same every time")
