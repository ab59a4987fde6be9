"""A running receiver with one profile of GitHub."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from receiver.support import Served, finish, serve


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    made = await serve(tmp_path)
    await made.listens()
    await made.profile("gh")
    yield made
    await finish(made)
