"""Reaching the engine: find the one that runs, start one, or be it; ask it for something and wait."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from platint_tui.core import errors
from platint_tui.core.errors import ConfigError, PlatintError, SystemicError
from platint_tui.core.model import JsonObject
from platint_tui.core.redaction import REDACTOR
from platint_tui.services.workspace import Workspace
from platint_tui.vault import PASSPHRASE_FILE

_POLL_SECONDS = 0.03


def refuse_read_only(workspace: Workspace, what: str) -> None:
    """Raise ConfigError when this console may only look."""
    if workspace.read_only:
        raise ConfigError(
            f"This console is read-only: it cannot {what}.", hint="Start it without --read-only."
        )


async def call(
    workspace: Workspace, kind: str, args: JsonObject, *, timeout: float = 120.0
) -> dict[str, Any]:
    """Ask the engine for `kind` and return its result.

    Writes a command row, makes sure that an engine runs, waits for the answer. Raises the error that the engine
    reported, with its type's exit code, or SystemicError when no engine answers within `timeout` seconds.
    """
    refuse_read_only(workspace, kind)
    command = await workspace.store.commands.submit(kind, args, workspace.actor)
    deadline = workspace.clock.monotonic() + timeout
    looked = 0.0
    while workspace.clock.monotonic() < deadline:
        row = await workspace.store.commands.get(command.id)
        if row is not None and row.state == "done":
            return dict(row.result or {})
        if row is not None and row.state == "failed":
            raise error_of(row.error or {})
        if workspace.clock.monotonic() - looked > 1.0:
            ensure_engine(workspace)
            looked = workspace.clock.monotonic()
        await asyncio.sleep(_POLL_SECONDS)
    raise SystemicError(
        f"The engine did not answer '{kind}' within {timeout:.0f} s.",
        hint=f"What it says is in {workspace.paths.engine_log}; the request is kept and will be done.",
    )


def error_of(document: JsonObject) -> PlatintError:
    """The error that the engine stored as a document (see `engine.commands.error_document`)."""
    if document.get("exit_code") == errors.ExitCode.RATE_LIMITED:
        return errors.RateLimited(
            str(document.get("message", "")),
            until_ms=int(document.get("until_ms") or 0),
            hint=str(document.get("hint", "")),
            where=str(document.get("where", "")),
        )
    kind = {
        errors.ExitCode.CONFIG: errors.ConfigError,
        errors.ExitCode.CREDENTIALS: errors.CredentialError,
        errors.ExitCode.USAGE: errors.UsageError,
    }.get(int(document.get("exit_code", 1)), SystemicError)
    return kind(
        str(document.get("message", "The engine failed without a reason.")),
        hint=str(document.get("hint", "")),
        where=str(document.get("where", "")),
        code=str(document.get("code", "")),
    )


def engine_is_running(workspace: Workspace) -> bool:
    """Whether some process holds the engine lock of this installation."""
    from platint_tui.engine.lock import holder

    return holder(workspace.paths.engine_lock) is not None


def ensure_engine(workspace: Workspace) -> None:
    """Start an engine process of its own when none runs. It goes on when this process ends, until it is idle."""
    if engine_is_running(workspace) or _starting(workspace):
        return
    arguments = [sys.executable, "-m", "platint_tui", "serve", "--until-idle"]
    if workspace.connectors is not None:
        arguments += ["--connectors", str(workspace.connectors.absolute())]
    passphrase = workspace.passphrase() if workspace.passphrase is not None else ""
    if passphrase:
        arguments.append("--passphrase-stdin")
    with workspace.paths.engine_log.open("ab") as log:
        os.fchmod(log.fileno(), 0o600)
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE if passphrase else subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_environment(workspace),
            start_new_session=True,
            cwd="/",
        )
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(passphrase.encode() + b"\n")
            process.stdin.close()
    _CHILDREN[str(workspace.paths.engine_lock)] = process


def _environment(workspace: Workspace) -> dict[str, str]:
    """This process's environment; the engine has another working folder, so paths in it are made absolute."""
    found = dict(workspace.environ)
    for name in ("PLATINT_HOME", PASSPHRASE_FILE):
        if found.get(name):
            found[name] = str(Path(found[name]).expanduser().absolute())
    return found


_CHILDREN: dict[str, subprocess.Popen[bytes]] = {}


def _starting(workspace: Workspace) -> bool:
    child = _CHILDREN.get(str(workspace.paths.engine_lock))
    return child is not None and child.poll() is None


async def stop_child_engine(workspace: Workspace, seconds: float = 10.0) -> None:
    """End the engine process that this process started, at a page border; kill it after `seconds`."""
    child = _CHILDREN.pop(str(workspace.paths.engine_lock), None)
    if child is None or child.poll() is not None:
        return
    child.terminate()
    try:
        await asyncio.to_thread(child.wait, seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        await asyncio.to_thread(child.wait)


@contextlib.asynccontextmanager
async def local_engine(workspace: Workspace) -> AsyncIterator[bool]:
    """Be the engine inside this process while the block runs, unless another process already is (yields False).

    For commands without a screen. At the end of the block running work is brought to a page border and stopped.
    """
    from platint_tui.engine.lock import EngineLock

    lock = EngineLock(workspace.paths.engine_lock)
    if not lock.try_acquire():
        yield False
        return
    from platint_tui.engine.serve import run_engine

    stop = asyncio.Event()
    task = asyncio.create_task(
        run_engine(
            workspace.paths, workspace.registry, workspace.vault, clock=workspace.clock, stop=stop, lock=lock
        )
    )
    try:
        yield True
    finally:
        stop.set()
        try:
            await task
        finally:
            lock.release()


def report(error: BaseException) -> str:
    """One redacted sentence for any error."""
    text = error.sentence() if isinstance(error, PlatintError) else f"{type(error).__name__}: {error}"
    return REDACTOR.redact(text)
