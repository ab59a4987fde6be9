"""What widgets that draw line by line have in common: tones, and strips put together from pieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.scroll_view import ScrollView
from textual.strip import Strip

TONES = ("muted", "strong", "ok", "warn", "bad", "info", "accent", "key", "match")
"""Names of the restrained palette; an empty tone is ordinary text."""


class LineView(ScrollView, inherit_bindings=False):
    """A scrolling widget that draws lines of toned text itself, so that its size costs nothing."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "line--plain",
        "line--cursor",
        "line--cursor-blurred",
        "line--head",
        "line--marked",
        *(f"tone--{name}" for name in TONES),
    }

    DEFAULT_CSS = """
    LineView {
        background: $background;
        color: $foreground;
        scrollbar-size: 1 1;
        scrollbar-color: $foreground 20%;
        scrollbar-color-hover: $foreground 35%;
        scrollbar-color-active: $primary;
        scrollbar-background: $background;
        scrollbar-background-hover: $background;
        scrollbar-background-active: $background;
        scrollbar-corner-color: $background;
        overflow-x: hidden;
        & > .line--plain { color: $foreground; }
        & > .line--cursor { background: $primary 28%; color: $foreground; text-style: none; }
        & > .line--cursor-blurred { background: $foreground 8%; color: $foreground; }
        & > .line--head { color: $foreground 55%; text-style: none; }
        & > .line--marked { background: $accent 12%; color: $foreground; }
        & > .tone--muted { color: $foreground 55%; }
        & > .tone--strong { color: $foreground; text-style: bold; }
        & > .tone--ok { color: $text-success; }
        & > .tone--warn { color: $text-warning; }
        & > .tone--bad { color: $text-error; }
        & > .tone--info { color: $text-primary; }
        & > .tone--accent { color: $text-accent; }
        & > .tone--key { color: $text-primary; }
        & > .tone--match { background: $warning 40%; color: $foreground; }
    }
    """

    def on_mount(self) -> None:
        """Forget computed styles when the theme changes."""
        self._styles: dict[tuple[str, str], Style] = {}
        self.app.theme_changed_signal.subscribe(self, lambda _: self._forget_styles())

    def _forget_styles(self) -> None:
        self._styles.clear()
        self.refresh()

    def notify_style_update(self) -> None:
        """Colours may have changed."""
        if hasattr(self, "_styles"):
            self._styles.clear()
        super().notify_style_update()

    def style_of(self, tone: str, line: str = "plain") -> Style:
        """The style of a tone on a kind of line (plain, cursor, cursor-blurred, head, marked)."""
        found = self._styles.get((tone, line))
        if found is None:
            base = self.get_component_rich_style(f"line--{line}")
            if tone:
                over = self.get_component_rich_style(f"tone--{tone}")
                background = over.bgcolor if tone == "match" else base.bgcolor
                found = Style(
                    color=over.color,
                    bgcolor=background,
                    bold=over.bold or base.bold,
                    underline=over.underline,
                )
            else:
                found = base
            self._styles[(tone, line)] = found
        return found

    def strip_of(self, pieces: Sequence[tuple[str, str]], width: int, line: str = "plain") -> Strip:
        """One line from (text, tone) pieces, padded or cropped to `width` cells."""
        segments = [Segment(text, self.style_of(tone, line)) for text, tone in pieces if text]
        return Strip(segments).adjust_cell_length(width, self.style_of("", line))
