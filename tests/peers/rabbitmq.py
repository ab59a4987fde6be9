"""A real RabbitMQ: AMQP 0-9-1, and the management API on the next port."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

from peers.process import PeerError, PeerProcess, expect, listening, program, request
from peers.server import Peer, exchange

USER = "ada"
PASSWORD = "rabbit-canary-3b85"
LIMITED_USER = "app"
LIMITED_PASSWORD = "rabbit-canary-app-e61f"
OTHER_VHOST = "other"
SCRIPTS = "/usr/lib/rabbitmq/bin"


class RabbitmqServer(Peer):
    """`ada` is the administrator of the virtual hosts `/` and `other`.

    `app` may read and write what is named `app.*` in `/`, declare nothing, and not use the management API.
    What is durable survives a kill: messages that were confirmed by themselves, and queues, exchanges and
    bindings because `kill` calls `flush` first (left alone, Erlang writes them up to two seconds later). It takes
    four ports: AMQP, management, and two for Erlang.
    """

    ports = 4
    user = USER
    password = PASSWORD
    limited_user = LIMITED_USER
    limited_password = LIMITED_PASSWORD
    vhost = "/"
    other_vhost = OTHER_VHOST

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._registry: PeerProcess | None = None
        self._serves = False
        (folder / "definitions.json").write_text(json.dumps(_definitions()))
        (folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        super().__init__(folder)

    @property
    def management_port(self) -> int:
        return self.port + 1

    @property
    def management_url(self) -> str:
        """Where the management API is, without a slash at its end."""
        return f"http://{self.host}:{self.management_port}"

    @property
    def url(self) -> str:
        """`amqp://` with the administrator."""
        return f"amqp://{USER}:{PASSWORD}@{self.host}:{self.port}/"

    @property
    def limited_url(self) -> str:
        """`amqp://` with the user of `app.*`."""
        return f"amqp://{LIMITED_USER}:{LIMITED_PASSWORD}@{self.host}:{self.port}/"

    def manage(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        """A call of the management API as the administrator: `manage("GET", "queues/%2F/name")`."""
        answer = request(
            method, f"{self.management_url}/api/{path}", json_body=body, basic=f"{USER}:{PASSWORD}"
        )
        return expect(status, answer)

    def close_connections(self) -> int:
        """End every AMQP connection from the server's side, as an operator does; how many there were."""
        names = [connection["name"] for connection in self.manage("GET", "connections")]
        for name in names:
            request(
                "DELETE",
                f"{self.management_url}/api/connections/{quote(name, safe='')}",
                basic=f"{USER}:{PASSWORD}",
            )
        return len(names)

    def flush(self) -> None:
        """Return when every queue, exchange and binding that was declared so far is on disk."""
        cookie = (self.folder / ".erlang.cookie").read_text().strip()
        address = ["-address", f"{self.host}:{self.port + 2}", "-c", cookie]
        done = subprocess.run(
            [program("erl_call"), *address, "-a", "mnesia sync_log []"],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        if done.stdout.strip() != "ok":
            raise PeerError(f"RabbitMQ did not write its log: {done.stdout}{done.stderr}")

    def kill(self) -> None:
        if self._serves:
            self.flush()
        self._serves = False
        super().kill()

    def command(self) -> list[str]:
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.default = {self.host}:{self.port}\n"
            f"management.tcp.ip = {self.host}\n"
            f"management.tcp.port = {self.management_port}\n"
            f"load_definitions = {self.folder / 'definitions.json'}\n"
            "collect_statistics_interval = 500\n"
            "log.console = true\n"
            "log.console.level = warning\n"
            "log.file = false\n"
        )
        # The script behind Debian's wrapper, which would change to another user and forget the environment.
        return [program("rabbitmq-server", SCRIPTS)]

    def environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))
        }
        return {
            **kept,
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": f"platint{self.port}@localhost",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_DIST_PORT": str(self.port + 2),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none"
            ),
            **self._registry_environment(),
        }

    def _registry_environment(self) -> dict[str, str]:
        return {
            "ERL_EPMD_PORT": str(self.port + 3),
            "ERL_EPMD_ADDRESS": self.host,
            "ERL_EPMD_RELAXED_COMMAND_CHECK": "1",
        }

    def ready(self) -> bool:
        hello = exchange(self.port, b"AMQP\x00\x00\x09\x01", lambda answer: len(answer) >= 1)
        if hello[:1] != b"\x01":
            return False
        try:
            self.manage("GET", "overview")
        except (OSError, PeerError):
            return False
        return True

    def start_again(self) -> None:
        # Left alone, Erlang starts its registry of nodes itself, as a daemon that outlives everything.
        port = self.port + 3
        if self._registry is None or self._registry.process.poll() is not None:
            self._registry = PeerProcess(
                [program("epmd"), "-port", str(port), "-address", self.host],
                folder=self.folder,
                env={**os.environ, **self._registry_environment()},
            )
            self._registry.wait_ready(lambda: listening(port))
        super().start_again()
        self._serves = True

    def _begin(self) -> None:
        try:
            super()._begin()
        except PeerError:
            self._end_registry()
            raise

    def _end_registry(self) -> None:
        if self._registry is not None:
            self._registry.stop()

    def shut_down(self) -> None:
        self._serves = False
        super().shut_down()

    def stop(self) -> None:
        self._serves = False
        self.kill()
        self._end_registry()
        shutil.rmtree(self.folder, ignore_errors=True)


def _definitions() -> dict[str, Any]:
    def user(name: str, password: str, tags: str) -> dict[str, str]:
        salt = b"salt"
        digest = hashlib.sha256(salt + password.encode()).digest()
        return {
            "name": name,
            "password_hash": base64.b64encode(salt + digest).decode(),
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": tags,
        }

    def right(user: str, vhost: str, configure: str, write: str, read: str) -> dict[str, str]:
        return {"user": user, "vhost": vhost, "configure": configure, "write": write, "read": read}

    return {
        "users": [user(USER, PASSWORD, "administrator"), user(LIMITED_USER, LIMITED_PASSWORD, "")],
        "vhosts": [{"name": "/"}, {"name": OTHER_VHOST}],
        "permissions": [
            right(USER, "/", ".*", ".*", ".*"),
            right(USER, OTHER_VHOST, ".*", ".*", ".*"),
            right(LIMITED_USER, "/", "^$", r"^app\..*", r"^app\..*"),
        ],
    }
