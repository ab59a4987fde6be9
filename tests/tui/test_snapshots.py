"""Pictures of the sections at the two sizes that are promised, with data and a clock that stand still."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from console_kit import ready, wait_for
from seeding import FixedClock, open_workspace, seed
from textual.pilot import Pilot

from platint_tui.engine.lock import EngineLock
from platint_tui.services import settings
from platint_tui.services.workspace import Workspace
from platint_tui.tui.app import Options, PlatintApp

SIZES = [(80, 24), (160, 48)]


class PictureApp(PlatintApp):
    """Opens a seeded installation in the loop that the picture is taken in, and closes it there."""

    def __init__(self, home: Path, section: str, *, seeded: bool = True) -> None:
        self._lock = EngineLock(home / "state" / "engine.lock")
        clock = FixedClock()

        async def opened() -> Workspace:
            workspace = await open_workspace(home, clock)
            assert self._lock.try_acquire()
            if seeded:
                await seed(workspace, clock, active=True)
            return workspace

        environ = {"PLATINT_HOME": str(home)}
        super().__init__(opened, clock=clock, options=Options(environ=environ, section=section))

    async def on_unmount(self) -> None:
        """Leave nothing open."""
        if self.opened:
            await self.workspace.close()
        self._lock.release()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a name that is the same on every machine."""
    monkeypatch.chdir(tmp_path)
    return Path("home")


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a machine could change in a picture: sizes of files, versions, the environment."""
    real = settings.load

    async def load(workspace: Workspace) -> settings.SettingsView:
        view = await real(workspace)
        places = tuple(
            dataclasses.replace(place, size=None if place.size is None else 229_376) for place in view.places
        )
        vault = dataclasses.replace(
            view.vault, keyring="Secret Service", keyring_usable=True, keyring_problem=""
        )
        return dataclasses.replace(view, places=places, vault=vault, sqlite_version="3.40.1", version="0.1.0")

    monkeypatch.setattr(settings, "load", load)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "COLUMNS" not in os.environ or monkeypatch.delenv("COLUMNS") is None


async def _shown(pilot: Pilot[int]) -> None:
    await ready(pilot)
    app = pilot.app
    assert isinstance(app, PlatintApp)
    await wait_for(pilot, lambda: app.focused is not None)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("section", ["dashboard", "syncs", "events", "history", "settings"])
def test_section(snap_compare: Callable[..., bool], home: Path, section: str, size: tuple[int, int]) -> None:
    assert snap_compare(PictureApp(home, section), terminal_size=size, run_before=_shown)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_welcome(snap_compare: Callable[..., bool], home: Path, size: tuple[int, int]) -> None:
    app = PictureApp(home, "dashboard", seeded=False)
    assert snap_compare(app, terminal_size=size, run_before=_shown)


def test_quitting(snap_compare: Callable[..., bool], home: Path) -> None:
    async def quitting(pilot: Pilot[int]) -> None:
        await _shown(pilot)
        await pilot.press("ctrl+q")
        await wait_for(pilot, lambda: pilot.app.focused is not None and pilot.app.focused.id == "stay")

    app = PictureApp(home, "dashboard")
    assert snap_compare(app, terminal_size=(80, 24), run_before=quitting)


def test_help(snap_compare: Callable[..., bool], home: Path) -> None:
    async def helping(pilot: Pilot[int]) -> None:
        await _shown(pilot)
        await pilot.press("question_mark")
        await wait_for(pilot, lambda: pilot.app.focused is not None and pilot.app.focused.id == "help")

    assert snap_compare(PictureApp(home, "syncs"), terminal_size=(80, 24), run_before=helping)
