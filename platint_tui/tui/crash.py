"""A crash leaves a redacted traceback in a private file and one sentence on the terminal, never locals."""

from __future__ import annotations

import os
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from textual.app import App

from platint_tui.core.errors import PlatintError
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.text import clean

if TYPE_CHECKING:
    from platint_tui.tui.app import PlatintApp


def write_report(folder: Path, error: BaseException) -> Path | None:
    """Write the traceback of `error`, without locals and with secrets masked, into a 0600 file of `folder`.

    Returns its path, None when it cannot be written: a crash report is no reason for another crash.
    """
    text = "".join(traceback.format_exception(error))
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    path = folder / f"crash-{stamp}-{os.getpid()}.txt"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(clean(REDACTOR.redact(text), lines=True))
    except OSError:
        return None
    return path


class CrashSafe(App[int]):
    """The crash path of the app: nothing on the terminal but what `run_console` says afterwards."""

    crashed: bool = False
    crash_report: Path | None = None

    def describe(self, error: BaseException) -> str:
        """Any error as one redacted sentence; one that is no PlatintError also leaves a report."""
        from platint_tui.services.engine import report

        folder = cast("PlatintApp", self).options.crash_folder
        if not isinstance(error, PlatintError) and folder is not None:
            write_report(folder, error)
        return report(error)

    def _handle_exception(self, error: Exception) -> None:
        """Write the redacted report before Textual closes; its own output would show local variables."""
        folder = cast("PlatintApp", self).options.crash_folder
        if not self.crashed:
            self.crashed = True
            self.crash_report = write_report(folder, error) if folder is not None else None
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        self._close_messages_no_wait()

    def panic(self, *renderables: Any) -> None:
        """Stop without printing: the report has it."""
        self._close_messages_no_wait()
