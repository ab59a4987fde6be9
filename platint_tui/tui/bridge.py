"""Between store and screen: polls, loads what is seen, posts one frozen snapshot a frame."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.message import Message

from platint_tui.core.errors import PlatintError

if TYPE_CHECKING:
    from platint_tui.services.console import Status
    from platint_tui.services.workspace import Workspace
    from platint_tui.tui.sections import SectionView

FRAME_SECONDS = 0.125
BEAT_SECONDS = 5.0
_STATUS_SECONDS = 1.0
_IDLE_REDRAW_SECONDS = 10.0


@dataclass
class Loaded(Message):
    """A view has been read: its snapshot."""

    view: SectionView
    snapshot: Any


@dataclass
class Held(Message):
    """The live view is paused and this many rows are new."""

    view: SectionView
    new: int


@dataclass
class LoadFailed(Message):
    """A view, or the status, could not be read: the sentence that says why."""

    view: SectionView | None
    sentence: str


@dataclass
class StatusRead(Message):
    """The engine, active runs and open dead letters as they are now."""

    status: Status


class Bridge:
    """Reads for the view that `current` returns and hands messages to `post`."""

    def __init__(
        self,
        workspace: Workspace,
        *,
        current: Callable[[], SectionView | None],
        post: Callable[[Message], object],
        describe: Callable[[BaseException], str],
    ) -> None:
        self._workspace = workspace
        self._current = current
        self._post = post
        self._describe = describe
        self._wake = asyncio.Event()
        self._forced = True
        self._version = -1
        self._view: SectionView | None = None
        self._shown: Any = None
        self._shown_at = 0.0
        self._status_at = -_STATUS_SECONDS
        self._busy = False
        self.paused = False

    def refresh(self) -> None:
        """Read again now, even while paused."""
        self._forced = True
        self._wake.set()

    async def run(self) -> None:
        """Poll for ever, at most 8 times a second."""
        while True:
            forced, self._forced = self._forced, False
            self._wake.clear()
            try:
                await self._status(forced)
            except Exception as error:
                self._post(LoadFailed(None, self._describe(error)))
            view = self._current()
            if view is not None:
                await self._view_step(view, forced)
            await asyncio.sleep(FRAME_SECONDS)
            if not self._forced and self._failed:
                await self._pause_after_failure()

    async def beat(self) -> None:
        """Tell the engine that somebody is looking, every 5 seconds."""
        while True:
            try:
                await self._workspace.beat()
            except PlatintError as error:
                self._post(LoadFailed(None, error.sentence()))
            await asyncio.sleep(BEAT_SECONDS)

    _failed = False

    async def _pause_after_failure(self) -> None:
        """A store that cannot be read is asked once a second, not eight times."""
        try:
            await asyncio.wait_for(self._wake.wait(), 1.0)
        except TimeoutError:
            pass

    async def _status(self, forced: bool) -> None:
        from platint_tui.services import console

        now = self._workspace.clock.monotonic()
        version = await self._workspace.changed()
        self._changed = version != self._version
        self._version = version
        if not (self._changed or forced or now - self._status_at >= _STATUS_SECONDS):
            return
        self._status_at = now
        status = await console.status(self._workspace)
        self._busy = status.busy
        self._post(StatusRead(status))
        console.watch_engine(self._workspace, status)

    _changed = False

    async def _view_step(self, view: SectionView, forced: bool) -> None:
        now = self._workspace.clock.monotonic()
        other = view is not self._view
        redraw = _STATUS_SECONDS if self._busy else _IDLE_REDRAW_SECONDS
        if not (self._changed or forced or other or self._failed or now - self._shown_at >= redraw):
            return
        try:
            snapshot = await view.load(self._workspace)
        except Exception as error:
            self._failed = True
            self._post(LoadFailed(view, self._describe(error)))
            return
        self._failed = False
        self._shown_at = now
        if self.paused and not forced and not other:
            old = frozenset(view.identities(self._shown))
            new = sum(1 for item in view.identities(snapshot) if item not in old)
            self._post(Held(view, new))
            return
        self._view, self._shown = view, snapshot
        self._post(Loaded(view, snapshot))
