"""One connection to a broker, which is never opened again by itself: whoever holds it learns that it is gone.

The broker is asked for a sign of life (PINGREQ) when nothing has come for a while; one that does not answer is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from platint_tui.core.errors import ConfigError, PlatintError, TransientError
from platint_tui.core.text import clean
from platint_tui.drivers.mqtt import packets
from platint_tui.drivers.mqtt.codes import (
    FAILED,
    FAILURES,
    of_wire,
    refused,
    refused_connection,
)
from platint_tui.drivers.mqtt.packets import Answer, Credentials, Message
from platint_tui.drivers.mqtt.profile import Address
from platint_tui.drivers.mqtt.properties import Malformed
from platint_tui.drivers.mqtt.wire import LARGEST, TooLarge, Wire, open_wire

KEEP_ALIVE = 30
_PING_EVERY = 10.0
_ANSWER_WITHIN = 10.0
_LAST_PACKET = 65_535


class Link:
    """An open connection. `session`: the broker still had the session; `features` are what CONNACK says (version 5).

    `on_message` is called with each message; one of QoS 2 comes once while the connection lasts. `failure` is why
    the connection is gone, and `on_end` is called then.
    """

    def __init__(self, address: Address, wire: Wire, hello: Answer) -> None:
        self.address = address
        self.features = hello.properties
        self.session = hello.session
        self.failure: PlatintError | None = None
        self.on_message: Callable[[Message], None] = lambda message: None
        self.on_end: Callable[[], None] = lambda: None
        self._wire = wire
        self._clock = asyncio.get_running_loop().time
        self._heard = self._clock()
        self._waiting: dict[tuple[int, int], asyncio.Future[Answer]] = {}
        self._received: set[int] = set()
        """Identifiers of messages of QoS 2 that we have taken and the broker has not released yet."""
        self._packet = 0
        self._open = asyncio.Event()
        self._open.set()
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._keep())]

    @property
    def version(self) -> int:
        """The protocol level that is spoken."""
        return self.address.version

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        return self.failure is not None

    def hold(self) -> None:
        """Read nothing more, so that the broker has to wait."""
        self._open.clear()

    def release(self) -> None:
        """Read on."""
        self._heard = self._clock()
        self._open.set()

    async def subscribe(self, topic: str, qos: int, retained: int = 0) -> int:
        """Subscribe to a filter; the QoS that the broker grants. Raises ConfigError when it refuses."""
        packet = self._next()
        sent = packets.subscribe(self.version, packet, topic, qos, retained)
        answer = await self._ask(sent, packets.SUBACK, packet)
        if answer.code >= FAILED:
            raise refused(answer, self.address, f"The broker refuses the subscription to '{clean(topic)}'")
        return answer.code

    async def publish(self, message: Message, seconds: float) -> Answer:
        """Send a message of QoS 1 or 2; what the broker answers. Raises Malformed for a message that has no form
        (nothing was sent), TransientError when the connection ends before the answer."""
        packet = self._next()
        data = packets.publish(self.version, replace(message, packet=packet))
        most = self.features.get("maximum_packet_size")
        if most is not None and len(data) > most:
            raise Malformed(f"it has {len(data):,} bytes, more than the {most:,} that the broker takes")
        kind = packets.PUBACK if message.qos == 1 else packets.PUBREC
        answer = await self._ask(data, kind, packet, seconds)
        if message.qos == 2 and answer.code < FAILED:
            # The broker has it. What follows only lets it forget the identifier.
            released = packets.acknowledgement(packets.PUBREL, packet)
            with contextlib.suppress(TransientError):
                await self._ask(released, packets.PUBCOMP, packet, seconds)
        return answer

    async def acknowledge(self, message: Message) -> None:
        """Tell the broker that a message is stored for good: PUBACK, or PUBREC for QoS 2, which hands it over.

        Raises TransientError when the connection is gone.
        """
        if message.qos == 2:
            self._received.add(message.packet)
        kind = packets.PUBACK if message.qos == 1 else packets.PUBREC
        await self._send(packets.acknowledgement(kind, message.packet))

    async def alive(self) -> None:
        """Return when the broker has answered a ping. Raises TransientError when it does not."""
        await self._ask(packets.ping(), packets.PINGRESP, 0, _ANSWER_WITHIN)

    async def close(self) -> None:
        """Say goodbye and end the connection: a session stays at the broker as long as it was asked to."""
        if self.failure is None:
            self._end(TransientError("The connection is closed.", where=self.address.where, code="closed"))
            with contextlib.suppress(*FAILURES):
                async with asyncio.timeout(1):
                    await self._wire.send(packets.disconnect())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._wire.close()

    def _next(self) -> int:
        used = {packet for _, packet in self._waiting}
        while True:
            self._packet = self._packet % _LAST_PACKET + 1
            if self._packet not in used:
                return self._packet

    async def _send(self, data: bytes) -> None:
        if self.failure is not None:
            raise self.failure
        try:
            await self._wire.send(data)
        except FAILURES as error:
            self._end(of_wire(error, self.address))
            raise self._gone() from None

    async def _ask(self, data: bytes, kind: int, packet: int, seconds: float | None = None) -> Answer:
        """Send, and wait for the packet that answers."""
        found = self._waiting.get((kind, packet))
        if found is None:
            found = self._waiting[kind, packet] = asyncio.get_running_loop().create_future()
        try:
            await self._send(data)
            async with asyncio.timeout(seconds or self.address.total_seconds):
                # A ping that is abandoned must not take its answer from another one.
                return await asyncio.shield(found)
        except TimeoutError:
            raise TransientError(
                "The broker did not answer in time.", where=self.address.where, code="timeout"
            ) from None
        finally:
            if self._waiting.get((kind, packet)) is found and (kind != packets.PINGRESP or found.done()):
                del self._waiting[kind, packet]

    async def _listen(self) -> None:
        try:
            while True:
                await self._open.wait()
                first, body = await self._wire.packet()
                self._heard = self._clock()
                await self._take(packets.decoded(self.version, first, body))
        except TooLarge as error:
            self._end(
                ConfigError(
                    f"A message of {error.size:,} bytes waits, more than the {LARGEST:,} that are taken.",
                    where=self.address.where,
                    hint="Read narrower topic filters, or have it sent in smaller ones.",
                    code="message_too_large",
                )
            )
        except FAILURES as error:
            self._end(of_wire(error, self.address))
        except PlatintError as error:
            self._end(error)

    async def _take(self, found: Message | Answer) -> None:
        if isinstance(found, Message):
            if found.qos == 2 and found.packet in self._received:
                await self._send(packets.acknowledgement(packets.PUBREC, found.packet))
            else:
                self.on_message(found)
            return
        if found.kind == packets.PUBREL:
            self._received.discard(found.packet)
            await self._send(packets.acknowledgement(packets.PUBCOMP, found.packet))
        elif found.kind == packets.DISCONNECT:
            raise refused(found, self.address, "The broker ended the connection")
        elif (waiting := self._waiting.get((found.kind, found.packet))) is not None and not waiting.done():
            waiting.set_result(found)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_PING_EVERY)
            try:
                if self._open.is_set():
                    await self.alive()
                else:
                    # Its answer is not read now, but the broker learns that we are there.
                    await self._send(packets.ping())
            except PlatintError as error:
                if self._clock() - self._heard >= _ANSWER_WITHIN and self._open.is_set():
                    self._end(error)
                    return

    def _end(self, error: PlatintError) -> None:
        if self.failure is not None:
            return
        self.failure = error
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(self._gone())
                waiting.exception()  # somebody may have stopped waiting for it
        self.on_end()

    def _gone(self) -> PlatintError:
        assert self.failure is not None
        return self.failure


async def open_link(
    address: Address, client_id: str, *, clean_start: bool = True, expiry: float = 0.0, receive: int = 0
) -> Link:
    """Connect and sign in. Without `clean_start` the broker goes on with the session of this client identifier,
    which it keeps for `expiry` seconds after the connection ends; `receive` is how many messages may be
    unacknowledged (both version 5). Raises CredentialError, ConfigError or TransientError.
    """
    password = address.password.reveal() if address.password is not None else None
    # MQTT 3.1.1 has one flag for both: a session is kept, or there is none.
    who = Credentials(client_id, address.user, password, clean_start, KEEP_ALIVE)
    properties: dict[str, Any] = {}
    if expiry:
        properties["session_expiry"] = min(round(expiry), 0xFFFF_FFFE)
    if receive:
        properties["receive_maximum"] = receive
    wire: Wire | None = None
    try:
        async with asyncio.timeout(address.connect_seconds):
            wire = await open_wire(address)
            await wire.send(packets.connect(address.version, who, properties))
            first, body = await wire.packet()
            hello = packets.decoded(address.version, first, body)
    except BaseException as error:
        if wire is not None:
            await wire.close()
        if isinstance(error, FAILURES):
            raise of_wire(error, address) from None
        raise
    if not isinstance(hello, Answer) or hello.kind not in (packets.CONNACK, packets.DISCONNECT):
        await wire.close()
        raise of_wire(Malformed("the first packet is no CONNACK"), address)
    if hello.code or hello.kind == packets.DISCONNECT:
        await wire.close()
        raise refused_connection(hello, address)
    return Link(address, wire, hello)
