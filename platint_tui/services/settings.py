"""What an operator may choose for this installation, and where its things are."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path

from platint_tui import __version__
from platint_tui.core.errors import ConfigError
from platint_tui.engine.receiver.options import OFF, SETTING, is_loopback, parse_listen, parse_public_url
from platint_tui.services.engine import refuse_read_only
from platint_tui.services.inbound import Receiver, receiver
from platint_tui.services.workspace import Workspace
from platint_tui.vault import VaultStatus

_THEME = "theme"


@dataclass(frozen=True, slots=True)
class Place:
    """A file or folder of the installation; `size` in bytes is None for a folder or a file not there yet."""

    label: str
    path: Path
    exists: bool
    size: int | None = None


@dataclass(frozen=True, slots=True)
class SettingsView:
    """Where everything is and how it is set. It holds no secret."""

    version: str
    sqlite_version: str
    places: tuple[Place, ...]
    connectors: tuple[Path, ...]
    retention: tuple[tuple[str, str], ...]
    vault: VaultStatus
    theme: str | None
    read_only: bool
    receiver: Receiver


async def load(workspace: Workspace) -> SettingsView:
    """Read the view."""
    paths = workspace.paths
    return SettingsView(
        version=__version__,
        sqlite_version=sqlite3.sqlite_version,
        places=(
            _place("database", paths.database),
            _place("configuration", paths.config),
            _place("your manifests", paths.connectors),
            _place("engine log", paths.engine_log),
            _place("crash reports", paths.crash_reports),
        ),
        connectors=(workspace.connectors,) if workspace.connectors else (),
        retention=await _retention(workspace),
        vault=await workspace.vault.status(),
        theme=await theme(workspace),
        read_only=workspace.read_only,
        receiver=await receiver(workspace),
    )


async def _retention(workspace: Workspace) -> tuple[tuple[str, str], ...]:
    from platint_tui.store.retention import Ages

    chosen = await workspace.store.settings.get("retention")
    days = asdict(Ages())
    if isinstance(chosen, dict):
        days |= {
            name: value
            for name, value in chosen.items()
            if name in days and isinstance(value, int) and value > 0
        }
    names = {
        "runs_days": "ended runs",
        "commands_days": "commands",
        "dead_letters_days": "settled dead letters",
        "events_days": "events and their deliveries",
    }
    return tuple((names.get(name, name), f"{number} days") for name, number in days.items())


def _place(label: str, path: Path) -> Place:
    try:
        size = path.stat().st_size if path.is_file() else None
        return Place(label, path, path.exists(), size)
    except OSError:
        return Place(label, path, False)


def check_receiver(listen: str, public_url: str) -> None:
    """Raise ConfigError (code listen, exposed or public_url) unless webhooks can be received so. "" is the default;
    `off` listens nowhere."""
    if listen and listen != OFF:
        host, _ = parse_listen(listen)
        if not is_loopback(host):
            raise ConfigError(
                f"{host} can be reached from other machines.",
                hint="Listen on 127.0.0.1 behind a proxy or tunnel; `serve --expose` means it.",
                code="listen",
            )
    parse_public_url(public_url)


async def set_receiver(workspace: Workspace, listen: str, public_url: str) -> None:
    """Where webhooks are received, and the public URL that vendors call; the environment and `serve` win over it.

    Raises ConfigError for what is no address.
    """
    refuse_read_only(workspace, "change where webhooks are received")
    check_receiver(listen, public_url)
    before = await workspace.store.settings.get(SETTING)
    kept = before if isinstance(before, dict) else {}
    await workspace.store.settings.put(SETTING, {**kept, "listen": listen, "public_url": public_url})


async def theme(workspace: Workspace) -> str | None:
    """The theme that was chosen, None before any was."""
    value = await workspace.store.settings.get(_THEME)
    return value if isinstance(value, str) else None


async def set_theme(workspace: Workspace, name: str) -> None:
    """Remember a theme. Raises ConfigError in a read-only console."""
    refuse_read_only(workspace, "remember a theme")
    await workspace.store.settings.put(_THEME, name)
