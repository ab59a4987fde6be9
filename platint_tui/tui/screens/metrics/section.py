"""Metrics: latency and error rate per platform and operation, over a quarter of an hour to a month."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from platint_tui.core.jsontext import dumps
from platint_tui.core.model import MetricPoint
from platint_tui.services import metrics
from platint_tui.services.metrics import Headline
from platint_tui.tui import glyphs, present
from platint_tui.tui.actions import Action
from platint_tui.tui.listing import Listing
from platint_tui.tui.screens.metrics import words
from platint_tui.tui.screens.metrics.words import WINDOWS, Row
from platint_tui.tui.sections import SectionView
from platint_tui.tui.widgets.chart import LineChart

if TYPE_CHECKING:
    from platint_tui.services.workspace import Workspace

_POINTS = 120
_EMPTY = (
    "No requests in this window.\n\n"
    "Every request to a platform is measured: run a sync (4), test a profile (2),\n"
    "or widen the window with w."
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What one load brings."""

    window: int
    grouped: bool
    platform: str
    head: Headline
    rows: tuple[Row, ...]
    points: tuple[MetricPoint, ...]
    now_ms: int


class MetricsSection(SectionView):
    """A headline, a chart of the platform under the cursor, and the table."""

    SECTION = "metrics"
    EMPTY = _EMPTY
    ACTIONS = (
        Action("metrics.window", ("w",), "window", "The next longer window of time; [ and ] step.",
               "next_window", section="metrics", footer=1),
        Action("metrics.group", ("v",), "group", "By platform, or by platform and operation.",
               "change_group", section="metrics", footer=2),
        Action("metrics.copy", ("y",), "copy", "Copy the table as JSON.",
               "copy_table", section="metrics", footer=3),
    )  # fmt: skip
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left_square_bracket", "step(-1)", "Shorter window", show=False),
        Binding("right_square_bracket", "step(1)", "Longer window", show=False),
    ]

    window = 1
    grouped = False
    platform = ""
    _shown: Measured | None = None

    def compose(self) -> ComposeResult:
        """Windows and headline, chart, small lines, table."""
        yield Static("", id="windows", markup=False)
        yield Static("", id="headline", markup=False)
        with Vertical(id="picture"):
            yield Static("", id="legend", markup=False)
            yield LineChart(
                label=words.scale_label, ascii_only=glyphs.current() is glyphs.ASCII, id="latency"
            )
            yield Static("", id="volume", markup=False)
        yield Listing(words.columns(), lambda row: row.key, empty=_EMPTY, id="operations")

    @property
    def listing(self) -> Listing[Row]:
        """The table."""
        found: Listing[Row] = self.query_one("#operations", Listing)
        return found

    async def load(self, workspace: Workspace) -> Measured:
        """The window's headline, rows and points."""
        window, grouped, platform = self.window, self.grouped, self.platform
        seconds = WINDOWS[window].seconds
        head = await metrics.headline(workspace, seconds)
        summaries = await metrics.summary(workspace, seconds, by_operation=not grouped)
        points = await metrics.series(workspace, seconds, points=_POINTS, platform=platform)
        rows = tuple(words.rows_of(head, summaries, await metrics.lags(workspace, seconds)))
        return Measured(window, grouped, platform, head, rows, tuple(points), workspace.clock.now_ms())

    def show(self, snapshot: Measured) -> None:
        """Put a snapshot on the screen."""
        self._shown = snapshot
        self.query_one("#windows", Static).update(present.joined(words.window_words(snapshot.window)))
        self.query_one("#headline", Static).update(present.joined(words.headline_words(snapshot.head)))
        self.listing.show(snapshot.rows)
        self.set_class(not snapshot.rows, "-bare")
        title = snapshot.platform or "everything"
        self.query_one("#legend", Static).update(present.joined(words.legend(title)))
        window = WINDOWS[snapshot.window]
        self.query_one("#latency", LineChart).show(
            words.lines_of(snapshot.points),
            words.times_of(snapshot.points, snapshot.now_ms, window),
            note=f"No requests in the last {window.label}.",
        )
        self._draw_volume()

    def _draw_volume(self) -> None:
        if self._shown is not None:
            pieces = words.volume_words(self._shown.points, self.size.width - 2)
            self.query_one("#volume", Static).update(present.joined(pieces))

    def on_resize(self, event: events.Resize) -> None:
        """The small lines have another width."""
        self._draw_volume()

    def identities(self, snapshot: Measured) -> Sequence[Hashable]:
        """The rows."""
        return [row.key for row in snapshot.rows]

    def crumbs(self) -> tuple[str, ...]:
        """The window."""
        return (f"last {WINDOWS[self.window].label}",)

    def focus_first(self) -> None:
        """The table."""
        self.listing.focus()

    def open_object(self, kind: str, id: str) -> None:
        """`search` names a platform."""
        if kind == "search":
            self._turn_to(id)

    @on(Listing.Moved, "#operations")
    def _moved(self) -> None:
        row = self.listing.current
        self._turn_to(row.summary.platform if row else "")

    def _turn_to(self, platform: str) -> None:
        if platform != self.platform:
            self.platform = platform
            self.console.reload()

    def next_window(self) -> None:
        """The next longer window, and from the longest to the shortest."""
        self.window = (self.window + 1) % len(WINDOWS)
        self.console.reload()

    def action_step(self, step: int) -> None:
        """A shorter or a longer window."""
        self.window = max(0, min(len(WINDOWS) - 1, self.window + step))
        self.console.reload()
        self.console.refresh_keys()

    def change_group(self) -> str:
        """By platform, or by platform and operation."""
        self.grouped = not self.grouped
        self.console.reload()
        return "Grouped by platform." if self.grouped else "Grouped by platform and operation."

    def copy_table(self) -> None:
        """The rows as JSON."""
        rows = self._shown.rows if self._shown else ()
        text = dumps([asdict(row.summary) for row in rows])
        self.console.copy(text, f"{present.plural(len(rows), 'row')} as JSON")
