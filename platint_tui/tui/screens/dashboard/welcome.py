"""What is shown when nothing is configured: what this is, and the three things to do."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from platint_tui.tui.present import joined


class Welcome(Vertical, can_focus=True):
    """Centred; the keys work from everywhere."""

    def compose(self) -> ComposeResult:
        """The words."""
        yield Static(
            joined(
                [
                    ("platint\n\n", "strong"),
                    ("Sync records between platforms, see what was refused and why,\n", ""),
                    ("correct it and send it again. Nothing is lost on the way.\n\n", ""),
                    ("d", "key"),
                    ("   see it at work on demo platforms\n", ""),
                    ("a", "key"),
                    ("   add a profile: your account on a platform\n", ""),
                    ("?", "key"),
                    ("   a tour, and every key", ""),
                ],
                lines=True,
            ),
            markup=False,
        )
