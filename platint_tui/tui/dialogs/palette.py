"""The palette: actions here and everywhere, themes, and objects such as `run 12` or `dead stripe`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input

from platint_tui.core.errors import PlatintError
from platint_tui.tui import themes
from platint_tui.tui.actions import key_name
from platint_tui.tui.dialogs.base import Dialog
from platint_tui.tui.listing import Listing
from platint_tui.tui.widgets.cells import Cell, Column
from platint_tui.tui.widgets.inputs import LineInput

if TYPE_CHECKING:
    from platint_tui.tui.app import PlatintApp


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that the palette can do: what it is called, what it is, and the act."""

    id: str
    title: str
    detail: str
    act: Callable[[], None]


_COLUMNS: tuple[Column[Hit], ...] = (
    Column("", lambda hit: Cell(hit.title), 24, grow=2),
    Column("", lambda hit: Cell(hit.detail, "muted"), 16, grow=3, priority=1),
)
_WORDS = {
    "dead": "deadletters",
    "run": "history",
    "profile": "profiles",
    "sync": "syncs",
    "event": "events",
    "source": "events",
}


class PaletteScreen(Dialog[None]):
    """Type to narrow, arrows to choose, enter to do."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "move(1)", "Down", show=False, priority=True),
        Binding("up", "move(-1)", "Up", show=False, priority=True),
    ]

    def __init__(self, console: PlatintApp) -> None:
        super().__init__()
        self.add_class("middling")
        self._host = console

    def compose(self) -> ComposeResult:
        """The line and the hits."""
        with Vertical():
            yield LineInput(placeholder="an action, or an object: run 12, dead stripe, profile x", id="query")
            hits = Listing(
                _COLUMNS, lambda hit: hit.id, header=False, lit=True, empty="Nothing matches.", id="hits"
            )
            hits.can_focus = False
            yield hits

    def on_mount(self) -> None:
        """Ready to type."""
        self.query_one(Input).focus()
        self._search("")

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        self._search(event.value)

    @work(exclusive=True, group="palette")
    async def _search(self, text: str) -> None:
        text = text.strip().removeprefix(":").strip()
        hits = [*self._typed(text), *self._actions(text), *self._themes(text)]
        if self._host.opened and text:
            from platint_tui.services import console

            try:
                found = list(reversed(await console.objects(self._host.workspace, text)))
            except PlatintError as error:
                self._host.report(error.sentence(), ok=False)
                found = []
            for item in found:
                act = self._going(item.section, item.kind, item.id)
                hits = [hit for hit in hits if hit.title != item.title]
                hits.insert(0, Hit(f"{item.kind}:{item.id}", item.title, item.detail, act))
        listing = self.query_one("#hits", Listing)
        listing.show(hits)
        listing.action_edge(-1)

    def _going(self, section: str, kind: str, id: str) -> Callable[[], None]:
        return lambda: self._host.go(section, kind, id)

    def _typed(self, text: str) -> list[Hit]:
        """`run 12`, `dead stripe`: what was typed is the address itself."""
        word, _, rest = text.partition(" ")
        rest = rest.strip()
        if word not in _WORDS or not rest:
            return []
        kind = "search" if word == "dead" and not rest.isdigit() else word
        section = _WORDS[word]
        title = f"dead letters with {rest!r}" if kind == "search" else f"{word} {rest}"
        return [Hit(f"typed:{text}", title, "go there", self._going(section, kind, rest))]

    def _actions(self, text: str) -> list[Hit]:
        console = self._host
        context = console.context()
        hits = []
        for action in console.registry.of(console.section):
            if action.id in ("palette", "up", "down", "left", "right"):
                continue
            if not _matches(text, f"{action.label} {action.help}"):
                continue
            reason = action.unavailable(context)
            detail = reason or f"{key_name(action.keys[0])}  {action.help}"
            hits.append(Hit(action.id, action.label, detail, self._performing(action.id)))
        return hits

    def _performing(self, action_id: str) -> Callable[[], None]:
        return lambda: self._host.perform(action_id)

    def _themes(self, text: str) -> list[Hit]:
        if not text or not _matches(text, "theme " + " ".join(themes.LABELS.values())):
            return []
        return [
            Hit(f"theme:{name}", f"theme {label}", "change the colours", self._choosing(name))
            for name, label in themes.LABELS.items()
            if _matches(text, f"theme {label}")
        ]

    def _choosing(self, name: str) -> Callable[[], None]:
        return lambda: self._host.choose_theme(name)

    def action_move(self, step: int) -> None:
        """Another hit."""
        listing = self.query_one("#hits", Listing)
        if listing.rows:
            index = listing.rows.index(listing.current) + step
            if 0 <= index < len(listing.rows):
                listing.go_to(listing.rows[index].id)

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self._take(self.query_one("#hits", Listing).current)

    @on(Listing.Opened)
    def _opened(self, event: Listing.Opened) -> None:
        self._take(event.listing.current)

    def _take(self, hit: Hit | None) -> None:
        self.dismiss(None)
        if hit is not None:
            self._host.call_later(hit.act)


def _matches(text: str, haystack: str) -> bool:
    low = haystack.lower()
    return all(word in low for word in text.lower().split())
