"""The part that every restartable peer shares: a port that stays its own, a hard kill, and the next start."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from peers.process import PeerError, PeerProcess, missing, program

HOST = "127.0.0.1"


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def steady_ports(count: int = 1) -> int:
    """The first of `count` neighbouring free ports below those that the system gives to outgoing connections.

    While a killed server is away nobody takes such a port by chance, not even the client that knocks at it
    again and again: on a port of the system's own range it may end up connected to itself.
    """
    for _ in range(200):
        first = random.randrange(12_000, 32_000)
        if all(_free(first + step) for step in range(count)):
            return first
    raise PeerError("no free ports between 12000 and 32000.")


class OtherUser:
    """Who a server runs as that refuses to run as root: one of `names`, or the user of the tests who is not root."""

    def __init__(self, server: str, *names: str) -> None:
        self._account: pwd.struct_passwd | None = None
        self.prefix: list[str] = []
        """Goes before the command."""
        if os.geteuid() != 0:
            return
        known = {account.pw_name: account for account in pwd.getpwall()}
        self._account = next((known[name] for name in names if name in known), None)
        if self._account is None:
            raise missing(f"A user account that {server} can run as")
        ids = [f"--reuid={self._account.pw_uid}", f"--regid={self._account.pw_gid}", "--clear-groups"]
        # A change of user makes the kernel forget that the server is to end with the tests.
        self.prefix = [program("setpriv"), *ids, "--pdeathsig=KILL"]

    def give(self, path: Path) -> None:
        """Let the server own this file or folder."""
        if self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)


def private_folder(name: str) -> Path:
    """A folder for a server that runs as another user, who cannot enter the private folders of the test run."""
    return Path(tempfile.mkdtemp(prefix=f"platint-{name}-"))


class Peer:
    """A server with `host`, `port` and `folder`, which can be killed and started again on the same data."""

    host = HOST
    port: int
    ports = 1
    """How many neighbouring ports it takes, `port` being the first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: PeerProcess | None = None
        self._begin()

    def command(self) -> list[str]:
        """The program and its arguments, for `self.port`; called before every start."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """The environment of the program."""
        return dict(os.environ)

    def ready(self) -> bool:
        """Whether the server does its work (an open port is not enough for most)."""
        raise NotImplementedError

    def _begin(self) -> None:
        for attempt in range(3):
            self.port = steady_ports(self.ports)
            try:
                self.start_again()
            except PeerError:
                self.kill()
                if attempt == 2:
                    raise
                continue
            return

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return self._process is not None and self._process.process.poll() is None

    @property
    def pid(self) -> int:
        """The leader of its group of processes, for a test that halts it (`os.killpg`, SIGSTOP and SIGCONT)."""
        assert self._process is not None
        return self._process.process.pid

    def output(self) -> str:
        """The last lines that the program wrote."""
        return self._process.output() if self._process is not None else ""

    def start_again(self) -> None:
        """Start the server on its port and its data; returns when it does its work."""
        if self.running:
            raise PeerError(f"{type(self).__name__} runs already.")
        self._process = PeerProcess(self.command(), folder=self.folder, env=self.environment())
        self._process.wait_ready(self.ready)

    def kill(self) -> None:
        """SIGKILL, as when the machine loses its power: nothing is written or said any more."""
        if self._process is not None:
            self._process.stop(hard=True)

    def shut_down(self) -> None:
        """SIGTERM: an orderly end, after which `start_again` works too."""
        if self._process is not None:
            self._process.stop()

    def stop(self) -> None:
        """End the server for good and remove its files."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def exchange(port: int, sent: bytes, enough: Callable[[bytes], bool], seconds: float = 2.0) -> bytes:
    """What a server answers to these bytes until it is `enough`, the connection ends or time is over."""
    answer = b""
    try:
        with socket.create_connection((HOST, port), timeout=seconds) as connection:
            connection.sendall(sent)
            while not enough(answer):
                more = connection.recv(65536)
                if not more:
                    break
                answer += more
    except OSError:
        pass
    return answer
