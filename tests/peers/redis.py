"""A real Redis server: two users with passwords, and every command on disk before it is answered."""

from __future__ import annotations

from pathlib import Path

from peers.process import program
from peers.server import Peer, exchange

USER = "ada"
PASSWORD = "redis-canary-91d4"
LIMITED_USER = "app"
LIMITED_PASSWORD = "redis-canary-app-7c02"


class RedisServer(Peer):
    """`ada` may do everything; `app` only keys and channels `app:*`, without administration (NOPERM).

    The default user is off, so a connection without a password is refused (NOAUTH), and wrong ones are too
    (WRONGPASS). A kill loses nothing that was answered.
    """

    user = USER
    password = PASSWORD
    limited_user = LIMITED_USER
    limited_password = LIMITED_PASSWORD

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "users.acl").write_text(
            "user default off\n"
            f"user {USER} on >{PASSWORD} ~* &* +@all\n"
            f"user {LIMITED_USER} on >{LIMITED_PASSWORD} ~app:* resetchannels &app:* +@all -@admin -@dangerous\n"
        )
        super().__init__(folder)

    @property
    def url(self) -> str:
        """`redis://` with the user who may do everything."""
        return f"redis://{USER}:{PASSWORD}@{self.host}:{self.port}/0"

    @property
    def limited_url(self) -> str:
        """`redis://` with the user of `app:*`."""
        return f"redis://{LIMITED_USER}:{LIMITED_PASSWORD}@{self.host}:{self.port}/0"

    def command(self) -> list[str]:
        options = {
            "bind": self.host,
            "port": str(self.port),
            "dir": str(self.folder),
            "aclfile": str(self.folder / "users.acl"),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "loglevel": "warning",
        }
        return [program("redis-server"), *(word for name in options for word in (f"--{name}", options[name]))]

    def ready(self) -> bool:
        sent = f"AUTH {USER} {PASSWORD}\r\nPING\r\n".encode()
        return exchange(self.port, sent, lambda answer: answer.count(b"\r\n") == 2) == b"+OK\r\n+PONG\r\n"
