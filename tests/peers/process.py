"""Starts a real server program for the tests on a free loopback port and stops it again."""

from __future__ import annotations

import base64
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PEERS = Path(os.environ.get("PLATINT_PEERS", ROOT / ".peers"))
START_SECONDS = 60.0


class PeerError(AssertionError):
    """A peer cannot be started; the test that needs it fails with this sentence."""


def missing(what: str) -> PeerError:
    """The sentence for a program that is not installed."""
    return PeerError(
        f"{what} is not installed here: run tests/run once, which installs every peer of the tests."
    )


def program(name: str, *folders: str) -> str:
    """Path of a program on PATH or in `folders`. Raises PeerError with what to do."""
    found = shutil.which(
        name, path=os.pathsep.join([*folders, os.environ.get("PATH", os.defpath), "/usr/sbin"])
    )
    if found is None:
        raise missing(name)
    return found


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    """Poll `condition` until it is true. Raises PeerError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise PeerError(f"{what} did not happen within {seconds:.0f} s.")
        time.sleep(0.02)


def _die_with_parent() -> None:
    # A killed test process must not leave its servers behind (Linux only; elsewhere `stop` does it). The
    # kernel ties this to the thread that starts the server: start peers from the main thread.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


class PeerProcess:
    """A child process in a group of its own, with its output in a file for the error message."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
    ) -> None:
        self.name = Path(command[0]).name
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / f"{self.name}-{time.monotonic_ns()}.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                list(command),
                cwd=folder,
                env=dict(os.environ if env is None else env),
                stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        if stdin is not None and self.process.stdin is not None:
            self.process.stdin.write(stdin)
            self.process.stdin.close()

    def output(self) -> str:
        """The last lines that the program wrote."""
        return self.log.read_text(errors="replace")[-1500:]

    def wait_ready(self, ready: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        """Wait until `ready()`; raises PeerError with the program's output when it ends or takes too long."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self.process.poll() is not None:
                raise PeerError(f"{self.name} ended with status {self.process.returncode}: {self.output()}")
            if time.monotonic() > deadline:
                self.stop()
                raise PeerError(f"{self.name} was not ready after {seconds:.0f} s: {self.output()}")
            time.sleep(0.02)

    def stop(self, hard: bool = False) -> None:
        """End the program and its children: SIGTERM, after 10 s (or at once when `hard`) SIGKILL."""
        for number, patience in (
            ((signal.SIGKILL, 10.0),) if hard else ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0))
        ):
            if self.process.poll() is not None:
                break
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(patience)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


def start_on_free_port(
    start: Callable[[int], PeerProcess], ready: Callable[[int], bool]
) -> tuple[int, PeerProcess]:
    """Start a server on a free port; another one when somebody took the port in between."""
    for attempt in range(3):
        port = free_port()
        peer = start(port)
        try:
            peer.wait_ready(lambda port=port: ready(port))
        except PeerError:
            peer.stop()
            if attempt == 2:
                raise
            continue
        return port, peer
    raise PeerError("unreachable")


def listening(port: int) -> bool:
    """Whether something accepts connections on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def request(
    method: str,
    url: str,
    *,
    json_body: Any = None,
    form: bytes | None = None,
    token: str = "",
    basic: str = "",
) -> tuple[int, Mapping[str, str], Any]:
    """One request with the standard library: status, headers (names in lower case), decoded JSON or None."""
    headers = {"Accept": "application/json"}
    data = form
    if json_body is not None:
        data = json.dumps(json_body).encode()
        headers["Content-Type"] = "application/json"
    elif form is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if basic:
        headers["Authorization"] = "Basic " + base64.b64encode(basic.encode()).decode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, data, headers, method=method), timeout=20) as answer:
            status, answer_headers, body = answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            status, answer_headers, body = error.code, error.headers, error.read()
    lowered = {name.lower(): value for name, value in answer_headers.items()}
    return status, lowered, json.loads(body) if body.strip().startswith((b"{", b"[")) else None


def expect(status: int, answer: tuple[int, Mapping[str, str], Any]) -> Any:
    """The body of an answer that must have `status`."""
    if answer[0] != status:
        raise PeerError(f"expected status {status}, got {answer[0]}: {answer[2]}")
    return answer[2]
