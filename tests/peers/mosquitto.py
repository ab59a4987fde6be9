"""A real Mosquitto: MQTT 3.1.1 and 5, the same over WebSockets on the next port, and what it keeps on disk."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from peers.process import PeerError, listening, program
from peers.server import Peer, exchange

USER = "ada"
PASSWORD = "mqtt-canary-a27e"
LIMITED_USER = "app"
LIMITED_PASSWORD = "mqtt-canary-app-15d9"


class MosquittoServer(Peer):
    """`ada` may use every topic; `app` reads `app/#` and writes `app/in/#` only.

    Nobody is let in without a password. Sessions, queued messages and retained ones are written to disk after
    each change, but the client has its answer a moment earlier: call `flush` before a kill that must not lose it.
    """

    ports = 2
    user = USER
    password = PASSWORD
    limited_user = LIMITED_USER
    limited_password = LIMITED_PASSWORD

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for number, (user, password) in enumerate(((USER, PASSWORD), (LIMITED_USER, LIMITED_PASSWORD))):
            subprocess.run(
                [
                    program("mosquitto_passwd"),
                    *(["-c"] if number == 0 else []),
                    "-b",
                    "passwords",
                    user,
                    password,
                ],
                cwd=folder,
                check=True,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=60,
            )
        (folder / "rights").write_text(
            f"user {USER}\ntopic readwrite #\ntopic read $SYS/#\n\n"
            f"user {LIMITED_USER}\ntopic read app/#\ntopic readwrite app/in/#\n"
        )
        (folder / "rights").chmod(0o600)
        super().__init__(folder)

    @property
    def websocket_port(self) -> int:
        return self.port + 1

    @property
    def url(self) -> str:
        """`mqtt://` with the user of every topic."""
        return f"mqtt://{USER}:{PASSWORD}@{self.host}:{self.port}"

    @property
    def websocket_url(self) -> str:
        """`ws://` of the second listener, without the user."""
        return f"ws://{self.host}:{self.websocket_port}/mqtt"

    def command(self) -> list[str]:
        settings = [
            "per_listener_settings false",
            f"password_file {self.folder / 'passwords'}",
            f"acl_file {self.folder / 'rights'}",
            "allow_anonymous false",
            "persistence true",
            f"persistence_location {self.folder}/",
            "autosave_on_changes true",
            "autosave_interval 1",
            "sys_interval 1",
            "max_queued_messages 0",
            f"listener {self.port} {self.host}",
            f"listener {self.websocket_port} {self.host}",
            "protocol websockets",
            "socket_domain ipv4",  # without it this listener is open on every interface, whatever its address
            *(["user root"] if os.geteuid() == 0 else []),
        ]
        (self.folder / "mosquitto.conf").write_text("\n".join(settings) + "\n")
        return [program("mosquitto"), "-c", str(self.folder / "mosquitto.conf")]

    def ready(self) -> bool:
        return self._greets() and listening(self.websocket_port)

    def flush(self) -> None:
        """Return when everything that was acknowledged so far is on disk."""
        # One loop serves all and writes before it looks for the next packets: two later answers come after that.
        for _ in range(2):
            if not self._greets():
                raise PeerError(f"Mosquitto does not answer: {self.output()}")

    def _greets(self) -> bool:
        body = b"\x00\x04MQTT\x04\xc2\x00\x05" + b"".join(
            len(word).to_bytes(2, "big") + word for word in (b"", USER.encode(), PASSWORD.encode())
        )
        sent = b"\x10" + bytes([len(body)]) + body
        return exchange(self.port, sent, lambda answer: len(answer) >= 4) == b"\x20\x02\x00\x00"
