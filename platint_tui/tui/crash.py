"""The crash path of the console: a report in a private file, and nothing on the terminal but one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from textual.app import App

from platint_tui.core.errors import PlatintError
from platint_tui.services.crash import write_report

if TYPE_CHECKING:
    from platint_tui.tui.app import PlatintApp


class CrashSafe(App[int]):
    """The crash path of the app: nothing on the terminal but what `run_console` says afterwards."""

    crashed: bool = False
    crash_report: Path | None = None

    def describe(self, error: BaseException) -> str:
        """Any error as one redacted sentence; one that is no PlatintError also leaves a report."""
        from platint_tui.services.engine import report

        if not isinstance(error, PlatintError):
            write_report(error, cast("PlatintApp", self).options.environ)
        return report(error)

    def _handle_exception(self, error: Exception) -> None:
        """Write the redacted report before Textual closes; its own output would show local variables."""
        if not self.crashed:
            self.crashed = True
            self.crash_report = write_report(error, cast("PlatintApp", self).options.environ)
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        self._close_messages_no_wait()

    def panic(self, *renderables: Any) -> None:
        """Stop without printing: the report has it."""
        self._close_messages_no_wait()
