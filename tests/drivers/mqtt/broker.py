"""A broker that says what a test tells it to, with bytes written by hand: what Mosquitto never answers."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from drivers.mqtt.conftest import mqtt_driver
from peers.mosquitto import MosquittoServer

from platint_tui.drivers.mqtt import MqttDriver
from platint_tui.drivers.mqtt.properties import packed


class ScriptedBroker:
    """Answers CONNECT with `connack`, PUBLISH with the next of `publish_codes` (the last one stays), SUBSCRIBE with
    `granted`; then sends `says`. Everything is MQTT 5 unless a test says otherwise."""

    def __init__(self) -> None:
        self.connack: bytes | None = None
        self.features: dict[str, Any] = {}
        self.publish_codes = [0]
        self.granted = 1
        self.says = b""
        self.most_in_flight = 0
        self.host, self.port = "127.0.0.1", 0
        self.user, self.password = "ada", "scripted-canary-5"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        self._server.close()

    def driver(self, **options: Any) -> MqttDriver:
        server: MosquittoServer = self  # type: ignore[assignment]  # it has what is looked at
        return mqtt_driver(server, **options)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting: list[bytes] = []

        async def answer() -> None:
            # Late, so that what comes meanwhile is seen to be on its way at the same time.
            while True:
                await asyncio.sleep(0.01)
                if waiting:
                    code = self.publish_codes.pop(0) if len(self.publish_codes) > 1 else self.publish_codes[0]
                    writer.write(b"\x40\x03" + waiting.pop(0) + bytes([code]))

        answering = asyncio.create_task(answer())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind = (await reader.readexactly(1))[0] >> 4
                size = shift = 0
                while True:
                    digit = (await reader.readexactly(1))[0]
                    size |= (digit & 0x7F) << shift
                    shift += 7
                    if digit < 0x80:
                        break
                body = await reader.readexactly(size)
                if kind == 1:
                    own = packed(self.features)
                    writer.write(self.connack or bytes([0x20, 2 + len(own), 0, 0]) + own)
                elif kind == 3:
                    at = 2 + int.from_bytes(body[:2], "big")
                    waiting.append(body[at : at + 2])
                    self.most_in_flight = max(self.most_in_flight, len(waiting))
                elif kind == 8:
                    writer.write(b"\x90\x04" + body[:2] + b"\0" + bytes([self.granted]) + self.says)
                elif kind == 12:
                    writer.write(b"\xd0\0")
        answering.cancel()
        writer.close()
