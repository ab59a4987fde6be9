"""The themes of the console. Colour never carries the meaning alone."""

from __future__ import annotations

from textual.theme import Theme

DEFAULT = "platint-dark"


def _theme(
    name: str,
    *,
    dark: bool,
    background: str,
    surface: str,
    panel: str,
    foreground: str,
    primary: str,
    accent: str,
    success: str,
    warning: str,
    error: str,
    **variables: str,
) -> Theme:
    """A theme whose tones are used as text as they are: they must be readable on the background."""
    return Theme(
        name=name,
        dark=dark,
        primary=primary,
        secondary=primary,
        accent=accent,
        foreground=foreground,
        background=background,
        surface=surface,
        panel=panel,
        success=success,
        warning=warning,
        error=error,
        variables={
            "text-primary": primary,
            "text-accent": accent,
            "text-success": success,
            "text-warning": warning,
            "text-error": error,
            "border": panel,
            "border-blurred": panel,
            "input-selection-background": f"{primary} 35%",
            "block-cursor-background": panel,
            "block-cursor-foreground": foreground,
            "block-cursor-text-style": "none",
            **variables,
        },
    )


THEMES: tuple[Theme, ...] = (
    _theme(
        "platint-dark",
        dark=True,
        background="#11141a",
        surface="#181c24",
        panel="#262c38",
        foreground="#d4d9e3",
        primary="#7eb0de",
        accent="#c3a6dd",
        success="#8cc093",
        warning="#dfb46c",
        error="#e5807c",
    ),
    _theme(
        "platint-light",
        dark=False,
        background="#fbfaf7",
        surface="#f2f0eb",
        panel="#dfdbd2",
        foreground="#2b2f38",
        primary="#1f5f99",
        accent="#7a4a94",
        success="#2c6e3f",
        warning="#8a5a00",
        error="#b0312e",
    ),
    _theme(
        "platint-high-contrast",
        dark=True,
        background="#000000",
        surface="#000000",
        panel="#3a3a3a",
        foreground="#ffffff",
        primary="#7fd4ff",
        accent="#ffb3ff",
        success="#7dff8a",
        warning="#ffe14d",
        error="#ff8f8f",
    ),
    _theme(
        "platint-deuteranopia",
        dark=True,
        background="#11141a",
        surface="#181c24",
        panel="#262c38",
        foreground="#d9dde6",
        primary="#8fc3f0",
        accent="#cfc6e8",
        success="#56a8e8",
        warning="#e8d060",
        error="#f08a3c",
    ),
    _theme(
        "platint-tritanopia",
        dark=True,
        background="#13141a",
        surface="#1b1c24",
        panel="#2b2c38",
        foreground="#dcdce4",
        primary="#6cc7d1",
        accent="#d7c3cf",
        success="#4fc3b5",
        warning="#f0b8c0",
        error="#f0605f",
    ),
)
"""Registered by the app under these names."""

LABELS = {
    "platint-dark": "dark",
    "platint-light": "light",
    "platint-high-contrast": "high contrast",
    "platint-deuteranopia": "deuteranopia",
    "platint-tritanopia": "tritanopia",
}


def following(name: str) -> str:
    """The theme after `name`, round and round."""
    names = [theme.name for theme in THEMES]
    return names[(names.index(name) + 1) % len(names)] if name in names else DEFAULT
