"""Publishing with confirmations: many messages on their way at once, and for each of them what became of it."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aiormq import exceptions
from aiormq.abc import AbstractChannel
from pamqp import commands

from platint_tui.core.errors import ConfigError, PlatintError, TransientError
from platint_tui.core.ids import new_id
from platint_tui.core.text import clean, one_line
from platint_tui.drivers.amqp.errors import FAILURES
from platint_tui.drivers.amqp.link import Link

_GRACE = 2.0
"""Seconds that confirmations are waited for after a cancellation."""
_PROVED_FOR = 10.0
"""Seconds of silence after which a connection may be dead without anybody knowing."""
_NOT_ENCODED = (ValueError, TypeError, ArithmeticError, struct.error)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way to an exchange ("" is the default one: the key is the name of a queue)."""

    body: bytes
    properties: commands.Basic.Properties
    exchange: str
    key: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a message: confirmed, returned (no queue takes it), nacked (the broker did not take it now),
    refused (with the whole channel), malformed (it does not fit into AMQP), unsent, or unknown."""

    state: Literal["confirmed", "returned", "nacked", "refused", "malformed", "unsent", "unknown"]
    why: str = ""
    error: PlatintError | None = None


class Publisher:
    """A channel with publisher confirms on a connection of its own.

    `interrupted`: a cancellation came while confirmations were awaited.
    """

    def __init__(self, link: Link, channel: AbstractChannel, seconds: float) -> None:
        """`seconds` is how long a confirmation, or a broker that takes nothing, is waited for."""
        self.link = link
        self._channel = channel
        self._seconds = seconds
        self._clock = asyncio.get_running_loop().time
        self._proved_at = float("-inf")
        self._may_try = True
        self.interrupted = False
        self._late = False

    @classmethod
    async def open(cls, link: Link, seconds: float) -> Publisher:
        """Raises PlatintError; the connection is closed then."""
        try:
            return cls(link, await link.channel(confirms=True), seconds)
        except BaseException:
            await link.close()
            raise

    @property
    def usable(self) -> bool:
        """Whether more can be published over it."""
        return not (self._late or self._channel.is_closed or self.link.closed)

    @property
    def proved(self) -> bool:
        """Whether the broker answered over it a moment ago. Otherwise the next message should go alone: if it is
        refused, or the connection turns out to be dead, that concerns this one and no other."""
        return self._clock() - self._proved_at < _PROVED_FOR

    async def ready(self) -> None:
        """Wait until the broker takes messages. Raises TransientError with the broker's reason after a while.

        A broker in alarm says so only after something was published, and reads nothing more from then on: so an
        empty message that no queue takes goes ahead, and then a question, which is answered only where no alarm is.
        Where the user has no right to send such a message, the first real one has to go alone.
        """
        await self._free()
        if self.proved or not self._may_try:
            return
        trial = Outgoing(b"", commands.Basic.Properties(), "", f"platint-tui.{new_id('check')}")
        [sent] = await self.publish([trial])
        if sent.state == "refused":
            self._may_try = False
            self._channel = await self.link.channel(confirms=True)
        elif sent.state == "returned":
            await self._ask()
        elif sent.error is not None:
            raise sent.error

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._channel.basic_qos(prefetch_count=0)
        except TimeoutError:
            self._late = True
            raise self._overdue() from None
        except FAILURES as error:
            raise self.link.error(error) from None
        self._proved_at = self._clock()

    async def _free(self) -> None:
        """Wait while the broker has said that it takes nothing."""
        wire = self.link.wire
        if wire.free.is_set():
            return
        reason = wire.blocked
        try:
            async with asyncio.timeout(self._seconds):
                await wire.free.wait()
        except TimeoutError:
            raise self._blocked(reason) from None

    def _blocked(self, reason: str) -> TransientError:
        return TransientError(
            f"The broker takes no messages now: {reason}.",
            where=self.link.address.where,
            hint="It is short of memory or disk: `rabbitmq-diagnostics alarms` says where.",
            code="blocked",
        )

    async def publish(self, messages: Sequence[Outgoing]) -> list[Sent]:
        """Send all of them and wait for what the broker says of each. No two may have the same message id."""
        alone = len(messages) == 1
        tasks = [asyncio.create_task(self._one(message, alone)) for message in messages]
        await self._settle(tasks)
        sent = [self._lost() if task.cancelled() else task.result() for task in tasks]
        if any(item.state == "confirmed" for item in sent):
            self._proved_at = self._clock()
        return sent

    async def _settle(self, tasks: Sequence[asyncio.Task[Sent]]) -> None:
        """Wait for every task, but not longer than the broker is given."""
        clock = self._clock
        deadline = clock() + self._seconds
        pending = set(tasks)
        while pending and clock() < deadline:
            try:
                _, pending = await asyncio.wait(pending, timeout=deadline - clock())
            except asyncio.CancelledError:
                # What is on its way is on its way: its outcome is to be known before anything ends.
                self.interrupted = True
                deadline = min(deadline, clock() + _GRACE)
        if pending:
            self._late = True
            for task in pending:
                task.cancel()
            await asyncio.wait(pending)

    def _overdue(self) -> TransientError:
        """Why an answer of the broker did not come."""
        if reason := self.link.wire.blocked:
            return self._blocked(reason)
        return TransientError(
            f"The broker did not confirm a message within {self._seconds:.0f} s.",
            where=self.link.address.where,
            code="timeout",
        )

    def _lost(self) -> Sent:
        error = self._overdue()
        return Sent("unknown", error.message, error)

    async def _one(self, message: Outgoing, alone: bool) -> Sent:
        try:
            answer = await self._channel.basic_publish(
                message.body,
                exchange=message.exchange,
                routing_key=message.key,
                properties=message.properties,
                mandatory=True,
            )
        except exceptions.PublishError as error:
            return Sent("returned", one_line(str(error.args[0])) if error.args else "")
        except exceptions.DeliveryError:
            return Sent("nacked")
        except exceptions.ChannelInvalidStateError as error:
            return self._failed("unsent", error)
        except FAILURES as error:
            # A refusal ends the channel: of one message alone it says that it was not taken.
            known = self.link.error(error, "write")
            refused = alone and not isinstance(known, TransientError)
            return Sent("refused" if refused else "unknown", known.message, known)
        except _NOT_ENCODED as error:
            return Sent("malformed", clean(str(error)))
        return Sent("confirmed" if isinstance(answer, commands.Basic.Ack) else "nacked")

    def _failed(self, state: Literal["unsent", "unknown"], error: BaseException) -> Sent:
        known = self.link.error(error)
        return Sent(state, known.message, known)

    async def close(self) -> None:
        """End the connection."""
        await self.link.close()


def unroutable(exchange: str, key: str, why: str) -> str:
    """The sentence for a message that no queue takes."""
    if exchange:
        return f"No queue takes what is sent to exchange '{clean(exchange)}' with the key '{clean(key)}' ({why})."
    return f"There is no queue '{clean(key)}' ({why})."


def unroutable_hint(exchange: str) -> str:
    """What to do about it."""
    if exchange:
        return "Bind a queue to the exchange with a matching key, then replay."
    return "Make the queue, then replay."


def no_such_exchange(exchange: str, where: str) -> ConfigError:
    """The refusal of a target whose exchange is not there."""
    return ConfigError(
        f"There is no exchange '{clean(exchange)}'.",
        where=where,
        hint="Make it first: its type and its bindings decide who gets the messages.",
        code="NOT_FOUND",
    )
