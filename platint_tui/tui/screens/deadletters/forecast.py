"""What a replay would do, foreseen: how many would pass, and why the others would not. Nothing is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Button, Static

from platint_tui.core.errors import PlatintError
from platint_tui.core.replays import Simulation
from platint_tui.tui import present
from platint_tui.tui.dialogs.base import Dialog, label, words
from platint_tui.tui.screens.deadletters.planwords import forecast_lines, verdict

Progress = Callable[[int, int], None]
Simulator = Callable[[Progress], Awaitable[Simulation]]


class ForecastScreen(Dialog[str]):
    """Simulates as soon as it is shown; escape ends it. Gives `replay` when the person wants to go on to that.

    `onward` is False where there is a plan under it already.
    """

    CSS_PATH = ["../../dialogs/dialog.tcss", "bulk.tcss"]  # type: ignore[assignment]  # noqa: RUF012 - as in Dialog
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "go_on", "Replay", show=False),
        Binding("n", "leave", "Close", show=False),
        Binding("tab,right", "app.focus_next", "Next", show=False),
        Binding("shift+tab,left", "app.focus_previous", "Previous", show=False),
    ]

    def __init__(self, title: str, simulate: Simulator, *, onward: bool = True) -> None:
        super().__init__()
        self.add_class("forecast", "tall", "wide")
        self._title = title
        self._simulator = simulate
        self._onward = onward
        self.result: Simulation | None = None

    def compose(self) -> ComposeResult:
        """Title, the result in a sentence, the reasons, buttons."""
        with Vertical():
            yield words(self._title, "strong", classes="title")
            yield Static(present.toned("Asking the engine…", "muted"), id="verdict", markup=False)
            with VerticalScroll(id="reasons"):
                yield Static("", id="reasons-text", markup=False)
            with Horizontal(classes="buttons"):
                yield Button(label("Close  esc"), id="close")
                if self._onward:
                    yield Button(label("Replay  r"), id="onward", disabled=True)

    def on_mount(self) -> None:
        """Begin."""
        self.query_one("#reasons").focus()
        self.run_worker(self._simulate(), group="simulate", exclusive=True)

    async def _simulate(self) -> None:
        try:
            self.result = await self._simulator(self._progress)
        except PlatintError as error:
            self._say(error.sentence(), "bad")
            return
        self._say(*verdict(self.result))
        self.query_one("#reasons-text", Static).update(present.lined(forecast_lines(self.result)))
        if self._onward:
            self.query_one("#onward", Button).disabled = not self.result.passing

    def _progress(self, checked: int, total: int) -> None:
        share = checked / total if total else 0.0
        text = f"{present.bar(share, 20)}  {present.count(checked)} of {present.count(total)}   esc stops"
        self._say(text, "info")

    def _say(self, text: str, tone: str) -> None:
        self.query_one("#verdict", Static).update(present.toned(text, tone))

    @on(Button.Pressed, "#onward")
    def action_go_on(self) -> None:
        """On to the plan of the replay."""
        if self._onward and self.result is not None and self.result.passing:
            self.dismiss("replay")

    @on(Button.Pressed, "#close")
    def action_leave(self) -> None:
        """Close; a simulation that is under way ends."""
        self.dismiss(None)
