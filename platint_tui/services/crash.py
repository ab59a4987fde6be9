"""A crash leaves a redacted traceback in a private file, never locals and never on the terminal."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Mapping
from pathlib import Path

from platint_tui.core.paths import find_paths
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.text import clean


def write_report(error: BaseException, environ: Mapping[str, str]) -> Path | None:
    """Write the traceback of `error`, without locals and with secrets masked, into a 0600 file.

    Returns its path, None when it cannot be written: a crash report is no reason for another crash.
    """
    folder = find_paths(environ).crash_reports
    path = folder / f"crash-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}.txt"
    text = clean(REDACTOR.redact("".join(traceback.format_exception(error))), lines=True)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError:
        return None
    return path
