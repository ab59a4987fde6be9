"""A real store in a folder of its own, with a clock that the test sets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from store.samples import FakeClock

from platint_tui.store.sqlite import SqliteStore


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "data" / "platint.sqlite"


@pytest.fixture
async def store(database: Path, clock: FakeClock) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(database, clock=clock, role="engine")
    yield opened
    await opened.close()
