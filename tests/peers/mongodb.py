"""MongoDB's protocol as the emulator SecantusDB has it, over the storage engine of the real one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from peers.process import PEERS, listening, program
from peers.server import Peer

SECANTUS = PEERS / "secantus-venv" / "bin"
USER = "ada"
PASSWORD = "mongo-canary-6e13"
LIMITED_USER = "app"
LIMITED_PASSWORD = "mongo-canary-app-b8f4"
DATABASE = "shop"


class MongodbServer(Peer):
    """A replica set of one member that asks for passwords (SCRAM-SHA-256).

    `ada` may do everything; `app` may read the database `shop`, not write, and not list databases. Both are known
    in the database `admin`. Every commit is on disk, so a kill loses nothing and change streams go on from their
    tokens. `options` are further arguments, such as `["--oplog-max-entries", "50"]`.
    """

    user = USER
    password = PASSWORD
    limited_user = LIMITED_USER
    limited_password = LIMITED_PASSWORD
    database = DATABASE

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self._options = list(options)
        self._auth: list[str] = []
        super().__init__(folder)
        self._make_users()
        self.kill()  # nothing is lost, and an orderly end takes seconds
        self._auth = ["--auth"]
        self.start_again()

    @property
    def url(self) -> str:
        """`mongodb://` with the user who may do everything."""
        return f"mongodb://{USER}:{PASSWORD}@{self.host}:{self.port}/?authSource=admin"

    @property
    def limited_url(self) -> str:
        """`mongodb://` with the user who may read `shop`."""
        return f"mongodb://{LIMITED_USER}:{LIMITED_PASSWORD}@{self.host}:{self.port}/?authSource=admin"

    def command(self) -> list[str]:
        place = ["--host", self.host, "--port", str(self.port), "--storage-path", str(self.folder / "data")]
        # The commands of MongoDB's own tests make a command fail once (`configureFailPoint`).
        more = ["--sync-on-commit", "--enable-test-commands", "--log-level", "WARNING"]
        return [program("secantusd-py", str(SECANTUS)), *place, *more, *self._options, *self._auth]

    def ready(self) -> bool:
        return listening(self.port)

    def _make_users(self) -> None:
        from pymongo import MongoClient

        with MongoClient(self.host, self.port, serverSelectionTimeoutMS=20_000) as client:
            client.admin.command("createUser", USER, pwd=PASSWORD, roles=["root"])
            rights = [{"role": "read", "db": DATABASE}]
            client.admin.command("createUser", LIMITED_USER, pwd=LIMITED_PASSWORD, roles=rights)
