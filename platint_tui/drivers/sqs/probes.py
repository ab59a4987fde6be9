"""What a profile may do with queues, found out without an effect on anybody's messages."""

from __future__ import annotations

import time

from platint_tui.core.errors import PlatintError
from platint_tui.core.model import Capability
from platint_tui.core.text import clean
from platint_tui.drivers.sqs.api import RECEIVE, Api
from platint_tui.drivers.sqs.queues import Queue, Queues, name_of, stream_of
from platint_tui.manifest import schema

_LOOKED_AT = 25
_NO_RECEIPT = "platint-tui looks whether this is allowed"


async def run_probe(api: Api, queues: Queues, probe: schema.Probe, own_url: str) -> Capability:
    """A probe by its id. Its failure is an outcome with its sentence, never an exception.

    `receive` asks an empty queue for a message. `delete` deletes by a receipt that there is not, which AWS
    refuses for that entry only to whom it allows the action.
    """
    started = time.monotonic()
    try:
        found = await _candidates(queues, own_url)
        if probe.id == RECEIVE:
            found = [queue for queue in found if queue.depth == 0]
        if not found:
            what = "There is no empty queue to try it on." if probe.id == RECEIVE else "There is no queue."
            return Capability(probe.id, False, True, f"Not tried: {what}", tried=False)
        await (_receive if probe.id == RECEIVE else _delete)(api, found[0])
    except PlatintError as error:
        return Capability(probe.id, False, probe.optional, error.sentence(), error_class=error.error_class)
    latency = (time.monotonic() - started) * 1000
    return Capability(probe.id, True, probe.optional, f"Allowed on {clean(found[0].name)}", latency)


async def _candidates(queues: Queues, own_url: str) -> list[Queue]:
    """Queues to try something on: the profile's own, else some of those that there are."""
    if own_url:
        return [await queues.describe(name_of(own_url))]
    return await queues.some(_LOOKED_AT)


async def _receive(api: Api, queue: Queue) -> None:
    await api.call(
        "ReceiveMessage",
        {"QueueUrl": queue.url, "MaxNumberOfMessages": 1, "WaitTimeSeconds": 0, "VisibilityTimeout": 0},
        operation=RECEIVE,
        stream=stream_of(queue.name),
        brief=True,
    )


async def _delete(api: Api, queue: Queue) -> None:
    await api.call(
        "DeleteMessageBatch",
        {"QueueUrl": queue.url, "Entries": [{"Id": "0", "ReceiptHandle": _NO_RECEIPT}]},
        operation="delete",
        stream=stream_of(queue.name),
        brief=True,
    )
