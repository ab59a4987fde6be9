"""The probes of a profile: signing in, the rights to make, write and read, and the management API.

None of them changes anything: a right is asked for with a name that no queue has, which the broker looks at before
it looks for the queue. Only the right to make queues is tried with one, which is gone with its connection.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from aiormq import exceptions
from aiormq.abc import AbstractChannel

from platint_tui.core.errors import ConfigError, CredentialError, PlatintError
from platint_tui.core.ids import new_id
from platint_tui.core.text import clean
from platint_tui.drivers.amqp.link import Link
from platint_tui.drivers.amqp.management import Management
from platint_tui.drivers.amqp.session import on_own_channel


async def probe(name: str, link: Link, management: Management | None) -> str:
    """What the probe `name` found. Raises PlatintError: it failed, and why."""
    stem = link.address.queues[0] if link.address.queues else "platint-tui"
    trial = f"{stem}.{new_id('check')}"
    if name == "configure":
        await on_own_channel(link, _declare(trial), "configure")
        return f"Queues called like '{clean(stem)}' can be made."
    if name == "write":
        await on_own_channel(link, _publish(trial), "write")
        return "Messages can be sent to queues (through the default exchange)."
    if name == "read":
        await on_own_channel(link, _get(trial), "read")
        return f"Queues called like '{clean(stem)}' can be read."
    if name == "management":
        if management is None:
            raise ConfigError("The profile has no management address.", code="no_management")
        return f"Management API of RabbitMQ {await management.version()}"
    raise ConfigError(f"The driver amqp knows no probe '{clean(name)}'.", code="probe")


Work = Callable[[AbstractChannel], Coroutine[Any, Any, int]]


def _declare(queue: str) -> Work:
    async def work(channel: AbstractChannel) -> int:
        await channel.queue_declare(queue, exclusive=True, auto_delete=True)
        await channel.queue_delete(queue)
        return 0

    return work


def _publish(queue: str) -> Work:
    async def work(channel: AbstractChannel) -> int:
        # With an empty answer of the broker: nothing refuses it, and no queue takes it.
        await channel.basic_publish(b"", routing_key=queue, mandatory=True)
        await channel.basic_qos(prefetch_count=0)
        return 0

    return work


def _get(queue: str) -> Work:
    async def work(channel: AbstractChannel) -> int:
        try:
            await channel.basic_get(queue)
        except exceptions.ChannelNotFoundEntity:
            pass
        return 0

    return work


def severity(error: PlatintError) -> str:
    """The class that a failed probe is shown with: a missing right is about the account."""
    missing = error.code == "ACCESS_REFUSED" or isinstance(error, CredentialError)
    return CredentialError.error_class.value if missing else error.error_class.value
