"""A real PostgreSQL server: a fresh cluster with scram authentication, loopback only."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from peers.process import PeerProcess, program
from peers.server import OtherUser, Peer, private_folder

USER = "platint"
PASSWORD = "pg-canary-5f0c2e71"


class PostgresServer(Peer):
    """`host`, `port`, `user`, `password`, `database` and `dsn` of a running server.

    It keeps what logical replication needs; `settings` adds to the configuration or replaces parts of it. A kill
    loses nothing that was committed: the files are the system's by then, even though nothing is forced to disk.
    """

    user = USER
    password = PASSWORD
    database = "postgres"

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self._folders = sorted(str(path) for path in Path("/usr/lib/postgresql").glob("*/bin"))[::-1]
        initdb = self.tool("initdb")
        # PostgreSQL refuses to run as root, and its user cannot enter the private folders of the test run.
        folder = private_folder("pg")
        self._user = OtherUser("PostgreSQL", "postgres", "nobody")
        password_file = folder / "password"
        password_file.write_text(PASSWORD)
        self._user.give(password_file)
        self._user.give(folder)
        self._data = folder / "data"
        options = ["-U", USER, "--auth=scram-sha-256", "-N", "-E", "UTF8", "--locale=C"]
        subprocess.run(
            [*self._user.prefix, initdb, "-D", str(self._data), *options, f"--pwfile={password_file}"],
            check=True,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
        )
        self._settings = {
            "listen_addresses": self.host,
            "unix_socket_directories": str(folder),
            "fsync": "off",
            "wal_level": "logical",
            "max_replication_slots": "20",
            "max_wal_senders": "20",
            **(settings or {}),
        }
        self._logs = Path(tempfile.mkdtemp(prefix="platint-pg-log-"))
        self._logs.chmod(0o755)
        super().__init__(folder)

    @property
    def dsn(self) -> str:
        """`postgresql://` with the superuser."""
        return f"postgresql://{USER}:{PASSWORD}@{self.host}:{self.port}/{self.database}"

    def tool(self, name: str) -> str:
        """Path of a program of PostgreSQL: `psql`, `pgbench`, `pg_recvlogical` and so on."""
        return program(name, *self._folders)

    @property
    def client_environment(self) -> dict[str, str]:
        """What PostgreSQL's own programs need to reach this server without arguments."""
        return {
            **os.environ,
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": USER,
            "PGPASSWORD": PASSWORD,
            "PGDATABASE": self.database,
        }

    def psql(self, sql: str) -> str:
        """What `psql` prints for these statements: rows by line, columns by `|`."""
        command = [self.tool("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]
        done = subprocess.run(
            command,
            env=self.client_environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def command(self) -> list[str]:
        options = [option for name, value in self._settings.items() for option in ("-c", f"{name}={value}")]
        return [
            *self._user.prefix,
            self.tool("postgres"),
            "-D",
            str(self._data),
            "-p",
            str(self.port),
            *options,
        ]

    def start_again(self) -> None:
        self._process = PeerProcess(self.command(), folder=self._logs, env=self.environment())
        self._process.wait_ready(self.ready)

    def ready(self) -> bool:
        command = [self.tool("pg_isready"), "-q", "-h", self.host, "-p", str(self.port)]
        return subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode == 0

    def kill(self) -> None:
        # Its children have process groups of their own, and the next start refuses while one of them lives.
        children = self._children() if self.running else []
        super().kill()
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def _children(self) -> list[int]:
        os.kill(self.pid, signal.SIGSTOP)
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(word) for word in listed.read_text().split()] if listed.exists() else []

    def stop(self) -> None:
        """End the server and remove its files."""
        super().stop()
        shutil.rmtree(self._logs, ignore_errors=True)
