"""What a section of the console is: a view that loads a frozen snapshot and shows it.

A section is a `SectionView` in `screens/<noun>/section.py`, with its rules in `section.tcss` beside it. It
does no I/O outside `load` and its action handlers; `load` calls services and returns a frozen snapshot,
`show` puts it on the screen. The bridge calls both. Actions are declared as data in `ACTIONS`; the app finds
them by key, checks whether they work now, runs the handler and reports its result.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from textual import events
from textual.containers import Vertical
from textual.reactive import var
from textual.widget import Widget

from platint_tui.tui.actions import SECTION_TITLES, Action

if TYPE_CHECKING:
    from platint_tui.core.clock import Clock
    from platint_tui.services.workspace import Workspace
    from platint_tui.tui.dialogs.ask import Question
    from platint_tui.tui.dialogs.confirm import Confirmation


class Console(Protocol):
    """What a section may ask of the app around it."""

    @property
    def workspace(self) -> Workspace:
        """The opened installation. Raises ConfigError while it is not open."""

    @property
    def clock(self) -> Clock:
        """The clock; ages and durations are computed from it."""

    @property
    def read_only(self) -> bool:
        """Whether this console may only look."""

    def report(self, text: str, *, ok: bool = True) -> None:
        """Say how something ended: status line and action log."""

    async def confirm(self, confirmation: Confirmation) -> bool:
        """Ask before something that cannot be taken back; True when confirmed."""

    async def ask(self, question: Question) -> str | None:
        """Ask for one line of text; None when cancelled."""

    def offer_undo(self, label: str, undo: Callable[[], Awaitable[str | None]]) -> None:
        """Make `z` take the last action back; `label` says what, the result of `undo` is reported."""

    def go(self, section: str, kind: str = "", id: str = "") -> None:
        """Show a section, and in it an object: run, profile, sync, issue, dead, search, stream, new."""

    def reload(self) -> None:
        """Load and show the current view again, now."""

    def refresh_keys(self) -> None:
        """What the actions can do has changed (a selection, a mode): draw footer and breadcrumb again."""

    def copy(self, text: str, what: str) -> None:
        """Put text on the clipboard and report it. Never a secret."""

    def perform(self, action_id: str) -> None:
        """Do an action as if its key had been pressed."""


class SectionView(Vertical):
    """Base class of the nine views."""

    SECTION: ClassVar[str]
    """Id of the section, as in SECTION_TITLES."""
    ACTIONS: ClassVar[tuple[Action, ...]] = ()
    """What can be done here; each with `section=SECTION`."""
    EMPTY: ClassVar[str] = "Nothing yet."
    """What to show, and to do, when there is nothing."""

    state: var[str] = var("loading")
    """loading, ready, or failed: what the bridge knows of the last load."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Take the rules from the `.tcss` file beside the module of the section."""
        sheet = Path(inspect.getfile(cls)).with_suffix(".tcss")
        if "DEFAULT_CSS" not in cls.__dict__ and sheet.is_file():
            cls.DEFAULT_CSS = sheet.read_text(encoding="utf-8")
        super().__init_subclass__(**options)

    @property
    def console(self) -> Console:
        """The app, as far as a section may know it."""
        return cast(Console, self.app)

    @property
    def title_text(self) -> str:
        """The section's title."""
        return next(title for _, section, title in SECTION_TITLES if section == self.SECTION)

    async def load(self, workspace: Workspace) -> Any:
        """Read what the view needs through services, as one frozen value. May raise PlatintError."""
        raise NotImplementedError

    def show(self, snapshot: Any) -> None:
        """Put a snapshot on the screen, keeping selection and scroll position; at most once a frame."""
        raise NotImplementedError

    def identities(self, snapshot: Any) -> Sequence[Hashable]:
        """Ids of the rows of a snapshot: tells how many are new while the live view is paused."""
        return ()

    def crumbs(self) -> tuple[str, ...]:
        """Where the person is below the section: `("stripe/customers", "run 1842")`. May be remote text."""
        return ()

    def open_object(self, kind: str, id: str) -> None:
        """Show an object, chosen in the palette or by `Console.go`. Kinds that are unknown are ignored."""

    def go_back(self) -> bool:
        """Undo one step of going in (close a detail, clear a filter); False when there is none."""
        return False

    def on_resize(self, event: events.Resize) -> None:
        """Set classes for the rules: `-narrow` under 100 columns, `-wide` from 140, `-short` under 30 lines."""
        self.set_class(event.size.width < 96, "-narrow")
        self.set_class(event.size.width >= 136, "-wide")
        self.set_class(self.app.size.height < 30, "-short")

    def focus_first(self) -> None:
        """Put the focus where the person will want it."""
        for pane in self.panes():
            pane.focus()
            return

    def panes(self) -> list[Widget]:
        """What can have the focus and is shown."""
        return [
            widget
            for widget in self.query("*").results(Widget)
            if widget.focusable and all(around.display for around in widget.ancestors_with_self)
        ]


@dataclass(frozen=True, slots=True)
class SectionInfo:
    """Where a section lives; its module is imported when it is shown first."""

    key: str
    id: str
    title: str
    class_name: str

    def load(self) -> type[SectionView]:
        """The class of the view."""
        module = import_module(f"platint_tui.tui.screens.{self.id}.section")
        return cast(type[SectionView], getattr(module, self.class_name))


SECTIONS: dict[str, SectionInfo] = {
    section: SectionInfo(key, section, title, f"{title.title().replace(' ', '')}Section")
    for key, section, title in SECTION_TITLES
}
"""The nine sections by id."""
