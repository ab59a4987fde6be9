"""Moving about: vi keys as arrows, sections, back and forth."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.widgets import Input

if TYPE_CHECKING:
    from platint_tui.tui.app import PlatintApp


def _app(self: object) -> PlatintApp:
    return cast("PlatintApp", self)


class Movement:
    """Handlers of the movement actions; part of the app."""

    _before: str = ""

    def go(self, section: str, kind: str = "", id: str = "") -> None:
        """Show a section, and in it an object."""
        app = _app(self)
        if section != app.section:
            self._before = app.section

        async def arrive() -> None:
            view = await app.show_section(section)
            if kind == "new":
                app.perform(f"{section}.add")
            elif kind:
                view.open_object(kind, id)
                app.refresh_keys()
                app.reload()

        app.run_worker(arrive(), group="go", exclusive=True)

    def go_dashboard(self) -> None:
        self.go("dashboard")

    def go_profiles(self) -> None:
        self.go("profiles")

    def go_discovery(self) -> None:
        self.go("discovery")

    def go_syncs(self) -> None:
        self.go("syncs")

    def go_deadletters(self) -> None:
        self.go("deadletters")

    def go_events(self) -> None:
        self.go("events")

    def go_history(self) -> None:
        self.go("history")

    def go_metrics(self) -> None:
        self.go("metrics")

    def go_settings(self) -> None:
        self.go("settings")

    def go_previous(self) -> None:
        """The section that was shown before."""
        if self._before:
            self.go(self._before)

    def step_back(self) -> None:
        """One step out; at the top of a section the focus returns to its first pane."""
        app = _app(self)
        view = app.view
        if view is None:
            return
        if not view.go_back():
            app.notice("")
            if isinstance(app.focused, Input):
                view.focus_first()
        app.refresh_keys()

    def _press(self, key: str) -> None:
        _app(self).simulate_key(key)

    def move_down(self) -> None:
        self._press("down")

    def move_up(self) -> None:
        self._press("up")

    def move_left(self) -> None:
        self._press("left")

    def move_right(self) -> None:
        self._press("right")

    def move_top(self) -> None:
        self._press("home")

    def move_end(self) -> None:
        self._press("end")

    def move_half_down(self) -> None:
        self._press("pagedown")

    def move_half_up(self) -> None:
        self._press("pageup")

    def next_pane(self) -> None:
        _app(self).screen.focus_next()

    def previous_pane(self) -> None:
        _app(self).screen.focus_previous()
