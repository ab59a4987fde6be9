"""Doctor: where everything is, what works, what to do about the rest."""

from __future__ import annotations

import importlib.util
import os
import platform
import sqlite3
from dataclasses import dataclass

from platint_tui import __version__
from platint_tui.core.errors import PlatintError
from platint_tui.services.engine import engine_is_running
from platint_tui.services.workspace import Workspace

_EXTRAS = {"postgresql": "asyncpg"}
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor: `state` is ok, note or problem."""

    topic: str
    state: str
    detail: str


async def examine(workspace: Workspace) -> list[Finding]:
    """Everything worth knowing about this installation; no secret in it."""
    paths = workspace.paths
    findings = [
        Finding("program", "ok", f"platint-tui {__version__}, Python {platform.python_version()}"),
        Finding("database", "ok", str(paths.database)),
        Finding("configuration", "ok", str(paths.config)),
        Finding("logs", "ok", str(paths.state)),
        _sqlite(),
        Finding(
            "engine",
            "ok",
            "at work" if engine_is_running(workspace) else "not running; it is started when needed",
        ),
        await _secrets(workspace),
    ]
    findings += _manifests(workspace)
    findings += [
        Finding("extra", "ok", f"{extra} is installed")
        if importlib.util.find_spec(module)
        else Finding("extra", "note", f"{extra} is not installed: pip install 'platint-tui[{extra}]'")
        for extra, module in _EXTRAS.items()
    ]
    named = [name for name in _PROXIES if workspace.environ.get(name)]
    if named:
        findings.append(
            Finding(
                "proxy", "note", f"{', '.join(named)} is set and not used: a profile names its own proxy."
            )
        )
    findings += [
        Finding("file", "problem", f"{path} can be read by others; chmod go-rwx {path}")
        for path in (paths.database, paths.config, paths.data, paths.state)
        if path.exists() and path.stat().st_mode & 0o077 and path.stat().st_uid == os.getuid()
    ]
    return findings


def _sqlite() -> Finding:
    version = sqlite3.sqlite_version_info
    fixed = version >= (3, 51, 3) or version in ((3, 50, 7), (3, 44, 6))
    if fixed:
        return Finding("sqlite", "ok", sqlite3.sqlite_version)
    return Finding(
        "sqlite",
        "note",
        f"{sqlite3.sqlite_version} has the WAL-reset bug (fixed in 3.51.3); "
        "only the engine checkpoints here, which avoids it",
    )


async def _secrets(workspace: Workspace) -> Finding:
    status = await workspace.vault.status()
    if status.keyring_usable:
        return Finding("secrets", "ok", f"keyring: {status.keyring}")
    if status.file_exists and not status.file_problem:
        return Finding("secrets", "ok", f"vault file {status.file}; keyring: {status.keyring_problem}")
    return Finding(
        "secrets",
        "note",
        f"{status.file_problem or status.keyring_problem} Choose: `platint-tui vault init`, "
        "or PLATINT_SECRET__<PROFILE>__<FIELD> in the environment.",
    )


def _manifests(workspace: Workspace) -> list[Finding]:
    broken = []
    names = workspace.registry.list()
    for name in names:
        try:
            workspace.registry.get(name)
        except PlatintError as error:
            broken.append(Finding("manifest", "problem", error.sentence()))
    return [Finding("manifests", "ok", f"{len(names) - len(broken)} usable"), *broken]
