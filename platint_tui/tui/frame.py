"""Drawing the frame: rail, breadcrumb, status line, keys, and what to do on a screen that is too small."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual import events
from textual.widgets import Static

from platint_tui.tui import glyphs, present
from platint_tui.tui.actions import Context
from platint_tui.tui.chrome import KeyBar, Rail, Trail
from platint_tui.tui.sections import SECTIONS

if TYPE_CHECKING:
    from platint_tui.tui.app import PlatintApp

LEAST_WIDTH, LEAST_HEIGHT = 60, 16
NOTICE_SECONDS = 20.0


def _app(self: object) -> PlatintApp:
    return cast("PlatintApp", self)


class Frame:
    """What is drawn around the sections; part of the app."""

    held: int = 0
    """Rows that are new while the live view is paused."""
    _said: int = 0
    _notice: tuple[str, str] = ("", "")
    _troubles: tuple[str, str] = ("", "")

    def context(self) -> Context:
        """What actions may look at."""
        app = _app(self)
        return Context(
            view=app.view,
            ready=app.opened,
            read_only=app.read_only,
            paused=app.bridge is not None and app.bridge.paused,
            undo=app.undo_label,
        )

    def refresh_keys(self) -> None:
        """Draw the frame again: what is possible, or where the person is, has changed."""
        app = _app(self)
        base = app.screen_stack[0] if app.screen_stack else None
        if base is None or not base.query(Rail):
            return
        width = max(0, app.size.width - 4)
        badges = {"deadletters": app.status.open_dead_letters} if app.status else {}
        view = app.view
        crumbs = (SECTIONS[app.section].title, *(view.crumbs() if view else ()))
        base.query_one(Rail).show(app.section, badges, app.size.width)
        base.query_one(Trail).show(crumbs, self._state_words(), width)
        trouble = self._troubles[0] or self._troubles[1]
        line = (f"Failed to load: {trouble}", "bad") if trouble else self._notice
        base.query_one("#status", Static).update(present.toned(*line))
        base.query_one(KeyBar).show(app.registry.footer(app.section), self.context(), width)

    def _state_words(self) -> list[tuple[str, str]]:
        app = _app(self)
        words: list[tuple[str, str]] = []
        if self.context().paused:
            news = f", {present.count(self.held)} new" if self.held else ""
            words += [(f"{glyphs.current().pause} paused{news}", "warn"), ("   ", "")]
        if app.options.banner:
            words += [(app.options.banner, "accent"), ("   ", "")]
        if app.read_only:
            words += [("read-only", "warn"), ("   ", "")]
        if app.status is None:
            return [*words, ("opening" + glyphs.current().ellipsis, "muted")]
        return words + present.engine_words(app.status, app.clock.now_ms())

    def notice(self, text: str, tone: str = "muted") -> None:
        """Show a sentence in the status line."""
        self._notice = (text, tone)
        self._said += 1
        self.refresh_keys()
        if text:
            said = self._said
            _app(self).set_timer(NOTICE_SECONDS, lambda: self._forget(said))

    def _forget(self, said: int) -> None:
        """A sentence has been there for long enough; the action log keeps it."""
        if said == self._said:
            self.notice("")

    def trouble(self, *, status: str | None = None, view: str | None = None) -> None:
        """Say that the status, or the view, cannot be read; an empty sentence says that it can again."""
        old = self._troubles
        self._troubles = (old[0] if status is None else status, old[1] if view is None else view)
        self.refresh_keys()

    def on_resize(self, event: events.Resize) -> None:
        """Below 60x16 say what is needed instead of a broken picture."""
        app = _app(self)
        if not app.screen_stack:
            return
        width, height = event.size
        base = app.screen_stack[0]
        base.set_class(width < LEAST_WIDTH or height < LEAST_HEIGHT, "-too-small")
        need = f"This terminal is {width}x{height}.\nThe console needs {LEAST_WIDTH}x{LEAST_HEIGHT}."
        for widget in base.query("#too-small").results(Static):
            widget.update(present.toned(need, "muted", lines=True))
        app.call_after_refresh(self.refresh_keys)
