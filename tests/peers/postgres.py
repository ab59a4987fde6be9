"""A real PostgreSQL server: a fresh cluster with scram authentication, loopback only."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from peers.process import PeerProcess, missing, program, start_on_free_port

USER = "platint"
PASSWORD = "pg-canary-5f0c2e71"


class PostgresServer:
    """`host`, `port`, `user`, `password`, `database` and `dsn` of a running server."""

    host = "127.0.0.1"
    user = USER
    password = PASSWORD
    database = "postgres"

    def __init__(self) -> None:
        folders = sorted(str(path) for path in Path("/usr/lib/postgresql").glob("*/bin"))[::-1]
        self._initdb = program("initdb", *folders)
        server = program("postgres", *folders)
        # PostgreSQL refuses to run as root, and its user cannot enter the private folders of the test run.
        self.folder = Path(tempfile.mkdtemp(prefix="platint-pg-"))
        self._as = self._other_user()
        password_file = self.folder / "password"
        password_file.write_text(PASSWORD)
        self._give(password_file)
        self._give(self.folder)
        data = self.folder / "data"
        options = ["-U", USER, "--auth=scram-sha-256", "-N", "-E", "UTF8", "--locale=C"]
        subprocess.run(
            [*self._as, self._initdb, "-D", str(data), *options, f"--pwfile={password_file}"],
            check=True,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
        )
        settings = {
            "listen_addresses": self.host,
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
        }
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        logs = Path(tempfile.mkdtemp(prefix="platint-pg-log-"))
        logs.chmod(0o755)
        self._logs = logs
        probe = program("pg_isready", *folders)

        def start(port: int) -> PeerProcess:
            return PeerProcess([*self._as, server, "-D", str(data), "-p", str(port), *options], folder=logs)

        def ready(port: int) -> bool:
            command = [probe, "-q", "-h", self.host, "-p", str(port)]
            return subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode == 0

        self.port, self.process = start_on_free_port(start, ready)
        self.dsn = f"postgresql://{USER}:{PASSWORD}@{self.host}:{self.port}/{self.database}"

    def _other_user(self) -> list[str]:
        if os.geteuid() != 0:
            return []
        for name in ("postgres", "nobody"):
            try:
                account = pwd.getpwnam(name)
            except KeyError:
                continue
            self._account: pwd.struct_passwd | None = account
            return [
                program("setpriv"),
                f"--reuid={account.pw_uid}",
                f"--regid={account.pw_gid}",
                "--clear-groups",
            ]
        raise missing("A user account that PostgreSQL can run as")

    def _give(self, path: Path) -> None:
        if self._as and self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def stop(self) -> None:
        """End the server and remove its files."""
        self.process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self._logs, ignore_errors=True)
