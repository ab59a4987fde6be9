"""A real MariaDB: a fresh data folder, two users with passwords, loopback only."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from peers.process import program
from peers.server import OtherUser, Peer, exchange, private_folder

USER = "ada"
PASSWORD = "maria-canary-0be3"
LIMITED_USER = "app"
LIMITED_PASSWORD = "maria-canary-app-64fa"
DATABASE = "shop"


class MariadbServer(Peer):
    """`ada` may do everything; `app` may read the database `shop`.

    A kill loses nothing that was committed: the files are the system's by then, even though little is forced to
    disk. `settings` are further options by name, such as `{"log-bin": "log", "binlog-format": "ROW"}`.
    """

    user = USER
    password = PASSWORD
    limited_user = LIMITED_USER
    limited_password = LIMITED_PASSWORD
    database = DATABASE

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        install = program("mariadb-install-db")
        # MariaDB refuses to run as root, and its user cannot enter the private folders of the test run.
        folder = private_folder("maria")
        self._user = OtherUser("MariaDB", "mysql", "nobody")
        self._user.give(folder)
        self._settings = {
            "datadir": str(folder / "data"),
            "socket": str(folder / "socket"),
            "pid-file": str(folder / "pid"),
            "bind-address": self.host,
            "init-file": str(folder / "users.sql"),
            "innodb-flush-log-at-trx-commit": "2",
            # Several servers at once would use up the machine's slots for it.
            "innodb-use-native-aio": "OFF",
            "innodb-buffer-pool-size": "32M",
            "innodb-log-file-size": "16M",
            "key-buffer-size": "1M",
            "performance-schema": "OFF",
            "character-set-server": "utf8mb4",
            **(settings or {}),
        }
        (folder / "users.sql").write_text(
            "DELETE FROM mysql.global_priv WHERE User = 'root';\nFLUSH PRIVILEGES;\n"
            f"CREATE DATABASE IF NOT EXISTS {DATABASE};\n"
            f"CREATE USER IF NOT EXISTS {USER}@'%' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON *.* TO {USER}@'%' WITH GRANT OPTION;\n"
            f"CREATE USER IF NOT EXISTS {LIMITED_USER}@'%' IDENTIFIED BY '{LIMITED_PASSWORD}';\n"
            f"GRANT SELECT ON {DATABASE}.* TO {LIMITED_USER}@'%';\n"
        )
        (folder / "users.sql").chmod(0o644)
        how = [
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            f"--datadir={folder / 'data'}",
            "--innodb-use-native-aio=OFF",
        ]
        made = subprocess.run(
            [*self._user.prefix, install, "--no-defaults", *how],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
        )
        assert made.returncode == 0, (made.stdout + made.stderr).decode(errors="replace")
        super().__init__(folder)

    @property
    def url(self) -> str:
        """`mysql://` with the user who may do everything."""
        return f"mysql://{USER}:{PASSWORD}@{self.host}:{self.port}/{DATABASE}"

    @property
    def limited_url(self) -> str:
        """`mysql://` with the user who may read."""
        return f"mysql://{LIMITED_USER}:{LIMITED_PASSWORD}@{self.host}:{self.port}/{DATABASE}"

    def command(self) -> list[str]:
        options = [f"--{name}={value}" for name, value in self._settings.items()]
        return [
            *self._user.prefix,
            program("mariadbd"),
            "--no-defaults",
            f"--port={self.port}",
            "--skip-name-resolve",
            *options,
        ]

    def ready(self) -> bool:
        # It greets after the users are made: the fifth byte is the version of the protocol.
        return exchange(self.port, b"", lambda answer: len(answer) >= 5)[4:5] == b"\x0a"
