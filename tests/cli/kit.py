"""The real command line: every call is a process of its own on an installation of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platint_tui

ROOT = str(Path(platint_tui.__file__).parents[1])
DEADLINE = 60.0
SECRETS = {
    "PAYMENTS_KEY": "pk_demo_cli_0123456789",
    "CRM_SECRET": "cs_demo_cli_0123456789",
    "CHAT_TOKEN": "xoxb-demo-cli-0123456789",
}
_OTHERS = ("PLATINT_", "PYTHON_KEYRING", "PYTHONUNBUFFERED", "PYTHONDONTWRITE", "XDG_", "DBUS_")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    args: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def said(self) -> str:
        """Everything, for the message of a failed assertion."""
        return f"{self.args} -> {self.code}\n{self.out[-3000:]}\n{self.err[-3000:]}"


def wait_for(condition: Callable[[], Any], what: str, seconds: float = DEADLINE) -> Any:
    """Poll until the condition is true; returns what it gave."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not happen within {seconds:.0f} s"
        time.sleep(0.03)
    return found


class Cli:
    """The command line on the installation in `home`. `cli("profiles", "list", code=0)` runs it to its end."""

    def __init__(self, home: Path, env: Mapping[str, str] | None = None, options: Sequence[str] = ()) -> None:
        self.home = home
        self.options = tuple(options)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
        self.env = {
            **inherited,
            "PLATINT_HOME": str(home),
            "PYTHONPATH": ROOT,
            "TERM": "dumb",
            **(env or {}),
        }
        self._started: list[subprocess.Popen[str]] = []

    def with_env(self, **changes: str) -> Cli:
        """The same installation with other environment variables."""
        other = type(self)(self.home, {**self.env, **changes}, self.options)
        other._started = self._started
        return other

    def command(self, *args: str | Path) -> list[str]:
        """The argument list of a command."""
        return [sys.executable, "-m", "platint_tui", *self.options, *(str(arg) for arg in args)]

    def __call__(
        self, *args: str | Path, code: int | None = 0, input: str = "", seconds: float = DEADLINE
    ) -> Done:
        process = self.start(*args)
        try:
            out, err = process.communicate(input, timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{args} did not end within {seconds:.0f} s:\n{out}\n{err}") from None
        done = Done(tuple(map(str, args)), process.returncode, out, err)
        assert "Traceback" not in out + err, done.said
        assert code is None or done.code == code, done.said
        return done

    def json(self, *args: str | Path, code: int | None = 0, **more: Any) -> Any:
        """The JSON document of a command; stdout must hold nothing else."""
        return self(*args, "--json", code=code, **more).json

    def start(self, *args: str | Path, **options: Any) -> subprocess.Popen[str]:
        """A command that goes on beside the test."""
        process = subprocess.Popen(
            self.command(*args),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=self.env,
            cwd=options.pop("cwd", self.home.parent),
            **options,
        )
        self._started.append(process)
        return process

    # --- what the installation holds -------------------------------------------------------------------

    @property
    def database(self) -> Path:
        return self.home / "data" / "platint.sqlite"

    def engine_pid(self) -> int | None:
        """The process that holds the engine lock, as it wrote itself down."""
        try:
            pid = int(json.loads((self.home / "state" / "engine.lock").read_text())["pid"])
        except (OSError, ValueError, KeyError):
            return None
        return pid if Path(f"/proc/{pid}").exists() else None

    def runs(self) -> list[dict[str, Any]]:
        """The runs, newest first, read from the database without the program."""
        return (
            rows(self.database, "SELECT * FROM runs ORDER BY number DESC") if self.database.exists() else []
        )

    def close(self) -> None:
        """End what is left: commands that a test started, and a background engine of this installation."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            with contextlib.suppress(ValueError):
                process.communicate()
        pid = self.engine_pid()
        if pid is not None and pid != os.getpid() and self._is_ours(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            wait_for(lambda: self.engine_pid() != pid, "the end of the engine", 20)

    def _is_ours(self, pid: int) -> bool:
        try:
            return f"PLATINT_HOME={self.home}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(
                b"\0"
            )
        except OSError:
            return False


def rows(database: Path, query: str, *values: Any) -> list[dict[str, Any]]:
    """Rows of a SQLite file that somebody else may be writing to."""
    with contextlib.closing(sqlite3.connect(database, timeout=10)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query, values)]


def one_sentence(done: Done, code: int, *needles: str) -> str:
    """The only line on stderr; stdout is empty. It has every needle, ends like a sentence, and is no traceback."""
    lines = done.err.strip().splitlines()
    assert done.code == code, done.said
    assert len(lines) == 1 and not done.out, done.said
    (line,) = lines
    assert line[-1] in ".!?'`)" and len(line) < 700, done.said
    for needle in needles:
        assert needle.lower() in line.lower(), f"{needle!r} is not in: {line}"
    return line


class Platforms:
    """The demo platforms as a server of this test: `urls` of payments, crm and chat."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        document = {
            "misbehave": False,
            "latency": [0, 0],
            "state": str(folder),
            **settings,
            "credentials": {
                "payments_key": SECRETS["PAYMENTS_KEY"],
                "crm_client_id": "client-cli",
                "crm_client_secret": SECRETS["CRM_SECRET"],
                "chat_token": SECRETS["CHAT_TOKEN"],
            },
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "platint_tui.demo"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(document).encode() + b"\n")
        self.process.stdin.flush()
        self.urls: dict[str, str] = json.loads(self.process.stdout.readline())
        self.ports = {name: int(url.rsplit(":", 1)[1]) for name, url in self.urls.items()}

    def contacts(self) -> dict[str, dict[str, Any]]:
        """What the CRM holds: contact by external_id."""
        found = rows(self.folder / "crm.sqlite3", "SELECT external_id, document FROM contacts")
        return {row["external_id"]: json.loads(row["document"]) for row in found}

    def stop(self) -> None:
        """Close its stdin, which ends it."""
        if self.process.poll() is None:
            assert self.process.stdin
            self.process.stdin.close()
            self.process.wait(10)
        assert self.process.stdout
        self.process.stdout.close()


@contextlib.contextmanager
def platforms(folder: Path, **settings: Any) -> Iterator[Platforms]:
    """Demo platforms for the length of a block."""
    server = Platforms(folder, **settings)
    try:
        yield server
    finally:
        server.stop()


def add_payments(cli: Cli, server: Platforms, name: str = "payments") -> None:
    """A profile of the payments platform; its key comes by stdin into the environment's reference."""
    cli(
        *(
            "profiles",
            "add",
            "demo-payments",
            "--name",
            name,
            "--field",
            f"base_url={server.urls['payments']}",
        ),
        *("--secret-from", "api_key=env:PAYMENTS_KEY", "--replace"),
    )


def add_crm(cli: Cli, server: Platforms, name: str = "crm") -> None:
    """A profile of the CRM."""
    cli(
        *("profiles", "add", "demo-crm", "--name", name, "--field", f"base_url={server.urls['crm']}"),
        *("--field", "client_id=client-cli", "--secret-from", "client_secret=env:CRM_SECRET", "--replace"),
    )


def add_warehouse(cli: Cli, path: Path, name: str = "warehouse") -> None:
    """A profile of a SQLite file."""
    cli("profiles", "add", "sqlite", "--name", name, "--field", f"path={path}", "--replace")


def write_integration(
    folder: Path,
    name: str,
    source: tuple[str, str],
    target: tuple[str, str],
    streams: Sequence[str],
    more: str = "",
) -> Path:
    """An integration file; `source` and `target` are (platform, profile)."""
    path = folder / f"{name}.yaml"
    path.write_text(
        f"integration: {name}\n"
        "platforms:\n"
        f"  - {{name: {source[0]}, profile: {source[1]}, type: api, endpoints: [{', '.join(streams)}]}}\n"
        f"  - {{name: {target[0]}, profile: {target[1]}, type: sync}}\n" + more
    )
    return path


def counts(run: Mapping[str, Any]) -> dict[str, tuple[int, int, int]]:
    """Per stream of a run document: read, written, dead-lettered."""
    return {item["stream"]: (item["read"], item["written"], item["dead_lettered"]) for item in run["streams"]}


def lost(cli: Cli, integration: str | Path) -> int:
    """Records that `syncs account` finds nowhere."""
    return sum(item["lost"] for item in cli.json("syncs", "account", integration))
