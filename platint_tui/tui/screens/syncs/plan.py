"""What a run would make or change at its target, before it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from platint_tui.tui.dialogs.base import Dialog, words
from platint_tui.tui.present import joined
from platint_tui.tui.widgets.cells import tame
from platint_tui.tui.widgets.lines import LinesView

if TYPE_CHECKING:
    from platint_tui.services.syncs import StreamChanges

Pieces = list[tuple[str, str]]


def plan_lines(planned: Sequence[StreamChanges]) -> list[Pieces]:
    """Each stream with the changes at its target, as its target says them."""
    lines: list[Pieces] = []
    for item in planned:
        lines.append([(tame(item.stream), "strong"), (f"  into {tame(item.target)}", "muted")])
        if item.error:
            lines.append([(f"  ! {tame(item.error)}", "bad")])
        elif not item.changes:
            lines.append([("  nothing is made or changed", "ok")])
        for change in item.changes:
            what = " ".join(part for part in (change.kind.replace("_", " "), change.field) if part)
            lines.append([(f"  + {tame(what)}  ", "warn"), (tame(change.detail), "")])
            lines += [[(f"      {tame(text)}", "muted")] for text in change.statement.splitlines()]
        lines.append([])
    return lines[:-1]


class PlanScreen(Dialog[None]):
    """The changes of every stream; nothing is changed by looking."""

    CSS_PATH = ["../../dialogs/dialog.tcss", "../discovery/preview.tcss"]  # type: ignore[assignment]  # noqa: RUF012

    def __init__(self, title: str, planned: Sequence[StreamChanges]) -> None:
        super().__init__()
        self.add_class("previewing", "wide", "tall")
        self._title = title
        self._planned = planned

    def compose(self) -> ComposeResult:
        """Title, changes, keys."""
        with Vertical():
            yield words(self._title, "strong", classes="title")
            yield LinesView()
            yield Static(
                joined([("j k", "key"), (" scroll   ", "muted"), ("esc", "key"), (" close", "muted")])
            )

    def on_mount(self) -> None:
        """Show the changes."""
        view = self.query_one(LinesView)
        view.show(plan_lines(self._planned))
        view.focus()
