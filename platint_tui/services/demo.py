"""The demo: three platforms on loopback, and the whole job on them by the same code as any other integration."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from platint_tui.core.errors import ConfigError, NotFound
from platint_tui.core.model import DeadLetter, Integration
from platint_tui.core.paths import find_paths, make_private
from platint_tui.manifest.registry import bundled_dir
from platint_tui.services import deadletters, edits, profiles, replays, syncs
from platint_tui.services.workspace import Workspace, open_workspace

INTEGRATIONS = ("demo-to-sqlite", "demo-to-crm")
_STATE = "demo.json"
_LOCK = "demo.lock"
_PREFIX = "platint-demo-"


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the demo serves: `records` payments made from `seed`; `keep` keeps the data between runs."""

    records: int = 2000
    seed: int = 1
    keep: bool = False
    calm: bool = False


@dataclass(frozen=True, slots=True)
class Demo:
    """Running demo platforms: their addresses and an environment that leads to the demo's own installation."""

    home: Path
    urls: Mapping[str, str]
    environ: Mapping[str, str]
    generation: int


@contextlib.asynccontextmanager
async def running(options: DemoOptions, environ: Mapping[str, str] | None = None) -> AsyncIterator[Demo]:
    """Serve the demo platforms for the length of the block; without `keep` everything is removed afterwards.

    Raises ConfigError when the number of records or the folder is not usable.
    """
    environ = os.environ if environ is None else environ
    if not 1 <= options.records < 10**9:
        raise ConfigError(f"The demo serves 1 to 999,999,999 records, not {options.records}.")
    home = find_paths(environ).data / "demo" if options.keep else _temporary_home()
    make_private(home)
    owner = _own(home)
    try:
        generation = _next_generation(home, options)
        credentials = {
            "payments_key": f"demo_{secrets.token_urlsafe(24)}",
            "crm_client_id": "platint-demo",
            "crm_client_secret": secrets.token_urlsafe(32),
            "chat_token": secrets.token_urlsafe(32),
        }
        settings = {
            "seed": options.seed,
            "records": options.records,
            "generation": generation,
            "misbehave": not options.calm,
            "latency": [0, 0] if options.calm else [5, 40],
            "state": str(home / "platforms"),
            "credentials": credentials,
        }
        server = await _start_server(settings)
        try:
            yield Demo(home, server.urls, _environment(environ, home, credentials), generation)
        finally:
            await server.stop()
    finally:
        owner.close()
        if not options.keep:
            shutil.rmtree(home, ignore_errors=True)


def _temporary_home() -> Path:
    """A new folder. Those that killed demos have left behind are removed on the way."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        lock = left / _LOCK
        if lock.is_symlink() or not lock.is_file() or lock.stat().st_uid != os.getuid():
            continue
        with lock.open() as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=_PREFIX))


def _own(home: Path) -> IO[str]:
    """Hold the folder for the life of this process. Raises ConfigError when another demo has it."""
    handle = (home / _LOCK).open("w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise ConfigError(
            "Another kept demo runs on the same data.", where=str(home), hint="Leave that one first."
        ) from None
    return handle


def _next_generation(home: Path, options: DemoOptions) -> int:
    """How many times the kept demo has run; each time the payments platform has some newer records."""
    path = home / _STATE
    wanted = {"records": options.records, "seed": options.seed}
    generation = 0
    if path.exists():
        try:
            before = json.loads(path.read_text())
            same = {name: before[name] for name in wanted}
            generation = int(before["generation"]) + 1
        except (ValueError, KeyError, TypeError, OSError):
            raise ConfigError(
                f"{path} is not readable as the demo's state.", hint=f"Remove {home}."
            ) from None
        if same != wanted:
            raise ConfigError(
                f"The kept demo serves {same['records']} records of seed {same['seed']}.",
                hint=f"Use the same --records and --seed, or remove {home}.",
            )
    path.write_text(json.dumps({**wanted, "generation": generation}))
    return generation


def _environment(environ: Mapping[str, str], home: Path, credentials: Mapping[str, str]) -> dict[str, str]:
    """The demo's own installation; its throw-away secrets live in the environment of its processes only."""
    kept = {name: value for name, value in environ.items() if not name.startswith("PLATINT_SECRET__")}
    return {
        **kept,
        "PLATINT_HOME": str(home),
        "PLATINT_SECRET__DEMO_PAYMENTS__API_KEY": credentials["payments_key"],
        "PLATINT_SECRET__DEMO_CRM__CLIENT_SECRET": credentials["crm_client_secret"],
        "PLATINT_SECRET__DEMO_CHAT__TOKEN": credentials["chat_token"],
    }


class _Server:
    """The process of the demo platforms."""

    def __init__(self, process: asyncio.subprocess.Process, urls: Mapping[str, str]) -> None:
        self._process = process
        self.urls = urls

    async def stop(self) -> None:
        """Close its stdin, which ends it; kill it when it does not end."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 5.0)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


async def _start_server(settings: Mapping[str, Any]) -> _Server:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "platint_tui.demo",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # A ctrl+c in the terminal is for the console, which then ends this process in order.
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdin.write(json.dumps(settings).encode() + b"\n")
    await process.stdin.drain()
    answer = await process.stdout.readline()
    if not answer:
        said = (await process.stderr.read()).decode("utf-8", "replace").strip().splitlines()
        raise ConfigError(f"The demo platforms did not start: {said[-1] if said else 'no reason given'}")
    return _Server(process, json.loads(answer))


async def open_demo(demo: Demo, connectors: Path | None = None) -> Workspace:
    """The demo's installation with its four profiles; discovery and syncs come by the ordinary use cases."""
    workspace = await open_workspace(environ=demo.environ, connectors=connectors)
    await _add(workspace, "demo-payments", {"base_url": demo.urls["payments"]}, "API_KEY")
    await _add(
        workspace, "demo-crm", {"base_url": demo.urls["crm"], "client_id": "platint-demo"}, "CLIENT_SECRET"
    )
    await _add(workspace, "demo-chat", {"base_url": demo.urls["chat"]}, "TOKEN")
    await profiles.add(
        workspace,
        name="demo-warehouse",
        platform="sqlite",
        environment="development",
        values={"path": str(warehouse(demo))},
        secrets={},
        replace_existing=True,
    )
    for name in INTEGRATIONS:
        await syncs.import_file(workspace, bundled_dir("profiles") / f"{name}.yaml")
    return workspace


def warehouse(demo: Demo) -> Path:
    """The SQLite file that the demo syncs into."""
    return demo.home / "warehouse.sqlite"


async def _add(workspace: Workspace, platform: str, values: dict[str, str], secret: str) -> None:
    variable = f"PLATINT_SECRET__{platform.upper().replace('-', '_')}__{secret}"
    await profiles.add(
        workspace,
        name=platform,
        platform=platform,
        environment="sandbox",
        values=values,
        secrets={secret.lower(): f"env:{variable}"},
        replace_existing=True,
        # A kept demo is served on other ports each time.
        same_account=True,
    )


async def integrations(workspace: Workspace) -> list[Integration]:
    """The demo's two integrations."""
    return [await syncs.find(workspace, name) for name in INTEGRATIONS]


Fix = Callable[[Any], Any]
_FIXES: Mapping[str, Fix] = {
    "missing_field": lambda _: "unknown@example.com",
    "wrong_type": lambda value: int(str(value)) if str(value).lstrip("-").isdigit() else 0,
    "too_long": lambda value: str(value)[:80],
}


async def choose_fix(workspace: Workspace) -> tuple[DeadLetter, str]:
    """What an operator would correct first: a dead letter of the CRM, and its corrected payload.

    Raises NotFound when there is none to correct.
    """
    for issue in await deadletters.issues(workspace):
        fix = _FIXES.get(issue.code)
        if issue.integration != "demo-to-crm" or not issue.open or fix is None or not issue.field:
            continue
        letter = (
            await deadletters.show(workspace, (await replays.open_ids(workspace, issue.fingerprint))[0])
        ).letter
        value = json.loads(letter.payload).get(issue.field)
        return letter, edits.apply_changes(letter.payload, {issue.field: fix(value)})
    raise NotFound("The demo has no dead letter to correct.", hint="Serve more records: --records 2000.")
