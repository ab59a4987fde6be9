"""Servers that misbehave as a test tells them, and drivers that read from them."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest

from platint_tui.core.model import Environment, Profile
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.driver import HttpDriver
from platint_tui.manifest.loader import load_text
from tests.http.hostile import MANIFEST, SECRET, Build, Hostile, Hurried, Limits, Notes, Rig, merged


@pytest.fixture
async def hostile() -> AsyncIterator[Hostile]:
    server = Hostile()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def other() -> AsyncIterator[Hostile]:
    """A second server, which must never see anything."""
    server = Hostile()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def build(hostile: Hostile) -> AsyncIterator[Build]:
    """`build({changes to the manifest}, base_url=...)`."""
    async with AsyncExitStack() as stack:

        def make(
            changes: Mapping[str, Any] | None = None,
            *,
            base_url: str = "",
            origins: tuple[str, ...] = (),
            fields: Mapping[str, str] | None = None,
            secret: str = SECRET,
        ) -> Rig:
            connector = load_text(json.dumps(merged(MANIFEST, changes or {})), "hostile.yaml")
            profile = Profile(
                "p",
                "hostile",
                Environment.DEVELOPMENT,
                {"base_url": base_url or hostile.url, **(fields or {})},
                {},
                origins,
            )
            limits, notes, clock = Limits(), Notes(), Hurried()
            context = DriverContext(
                connector, profile, {"key": Secret(secret)}, limits, notes, clock, random.Random(7)
            )
            driver = HttpDriver(context)
            stack.push_async_callback(driver.close)
            return Rig(driver, limits, notes, clock)

        yield make
