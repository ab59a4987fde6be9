"""A stand-in for Azure Service Bus, judged by Microsoft's own client (test_brokers.py)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peers.process import PEERS, listening, program
from peers.server import Peer

SERVER = Path(__file__).with_name("servicebus_server.py")
PROTON = PEERS / "proton-venv" / "bin"
KEY_NAME = "RootManageSharedAccessKey"
KEY = "c2ItY2FuYXJ5LTU4YTE="
LISTEN_KEY_NAME = "OnlyListen"
LISTEN_KEY = "c2ItY2FuYXJ5LWxpc3Rlbi0wYjdk"
QUEUES: Mapping[str, Mapping[str, float]] = {"orders": {}, "other": {}, "short": {"lock_seconds": 1.0}}
TOPICS: Mapping[str, Mapping[str, Mapping[str, float]]] = {"events": {"billing": {}, "audit": {}}}


class ServicebusServer(Peer):
    """Queues `orders`, `other` and `short` (locks of one second), and the topic `events` with two subscriptions.

    Those are `billing` and `audit`. A lock lasts 30 s, and the third failed delivery is the last, unless `queues` or
    `topics` say otherwise (`lock_seconds`, `max_delivery`). Messages outlive a kill; locks do not.
    """

    key_name = KEY_NAME
    key = KEY
    listen_key_name = LISTEN_KEY_NAME
    listen_key = LISTEN_KEY

    def __init__(
        self,
        folder: Path,
        queues: Mapping[str, Mapping[str, float]] = QUEUES,
        topics: Mapping[str, Mapping[str, Mapping[str, float]]] = TOPICS,
    ) -> None:
        def full(settings: Mapping[str, float]) -> dict[str, float]:
            return {"lock_seconds": 30.0, "max_delivery": 3, **settings}

        self._config: dict[str, Any] = {
            "queues": {name: full(settings) for name, settings in queues.items()},
            "topics": {
                name: {subscription: full(settings) for subscription, settings in subscriptions.items()}
                for name, subscriptions in topics.items()
            },
            "keys": {
                KEY_NAME: {"secret": KEY, "rights": ["Manage", "Send", "Listen"]},
                LISTEN_KEY_NAME: {"secret": LISTEN_KEY, "rights": ["Listen"]},
            },
        }
        super().__init__(folder)

    @property
    def connection_string(self) -> str:
        """The key that may do everything."""
        return self.connection_string_of(KEY_NAME, KEY)

    @property
    def listen_connection_string(self) -> str:
        """The key that may receive but not send."""
        return self.connection_string_of(LISTEN_KEY_NAME, LISTEN_KEY)

    def connection_string_of(self, name: str, key: str) -> str:
        """A connection string as the portal shows it, for a server without TLS."""
        return (
            f"Endpoint=sb://{self.host}:{self.port};SharedAccessKeyName={name};SharedAccessKey={key};"
            "UseDevelopmentEmulator=true;"
        )

    def command(self) -> list[str]:
        config = {
            **self._config,
            "host": self.host,
            "port": self.port,
            "store": str(self.folder / "store.db"),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "config.json").write_text(json.dumps(config))
        return [program("python", str(PROTON)), "-P", str(SERVER), str(self.folder / "config.json")]

    def ready(self) -> bool:
        return listening(self.port)
