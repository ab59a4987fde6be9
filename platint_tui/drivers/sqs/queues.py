"""The queues of an account: their addresses, what they hold, and which keep the dead letters of others."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from platint_tui.core.errors import PlatintError, SystemicError
from platint_tui.core.jsontext import loads
from platint_tui.core.model import Field, Stream
from platint_tui.core.text import clean
from platint_tui.drivers.sqs.api import Api, in_full

FAMILY = "queue."
FIFO = ".fifo"
MISSING = frozenset({"QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"})
"""Codes that say that there is no such queue."""
MOST_QUEUES = 1_000
_AT_ONCE = 8
_DEPTHS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


def stream_of(name: str) -> str:
    """The stream of a queue."""
    return FAMILY + name


def name_of(address: str) -> str:
    """The name of a queue in its URL or ARN."""
    return address.rpartition("/" if "/" in address else ":")[2]


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue as GetQueueAttributes tells of it; `trouble` is why it does not, `sources` are the queues whose
    dead letters it keeps."""

    name: str
    url: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    trouble: str = ""
    sources: tuple[str, ...] = ()

    @property
    def fifo(self) -> bool:
        """Whether it keeps the order within message groups."""
        return self.name.endswith(FIFO)

    @property
    def waiting(self) -> int | None:
        """Messages that can be received, about."""
        return self.number("ApproximateNumberOfMessages")

    @property
    def depth(self) -> int | None:
        """Everything in it, hidden and delayed messages too, about."""
        counts = [self.number(name) for name in _DEPTHS]
        return None if counts[0] is None else sum(count or 0 for count in counts)

    @property
    def redrive(self) -> tuple[str, int] | None:
        """The name of its dead-letter queue, and after how many receives messages go there."""
        try:
            policy = loads(self.attributes.get("RedrivePolicy") or "null")
        except SystemicError:
            return None
        if not isinstance(policy, dict) or not isinstance(policy.get("deadLetterTargetArn"), str):
            return None
        most = str(policy.get("maxReceiveCount", ""))
        return name_of(policy["deadLetterTargetArn"]), int(most) if most.isdecimal() else 0

    def number(self, name: str) -> int | None:
        """An attribute that counts something."""
        value = str(self.attributes.get(name, ""))
        return int(value) if value.isdecimal() else None


class Queues:
    """Finds queues by name; an address that was found is remembered."""

    def __init__(self, api: Api, own_url: str) -> None:
        """`own_url` is the queue that the profile names, which needs no look-up."""
        self._api = api
        self._found = {name_of(own_url): own_url} if own_url else {}

    async def url(self, name: str) -> str:
        """The address of a queue. Raises ConfigError when there is none of this name."""
        if name not in self._found:
            answer = await self._api.call(
                "GetQueueUrl", {"QueueName": name}, operation="find", stream=stream_of(name)
            )
            self._found[name] = str(answer["QueueUrl"])
        return self._found[name]

    def forget(self, name: str) -> None:
        """Look the address up again: the queue may have been made anew."""
        self._found.pop(name, None)

    async def create(self, name: str) -> str:
        """Make a queue with the platform's defaults; its address. Raises PlatintError."""
        attributes = {"FifoQueue": "true"} if name.endswith(FIFO) else {}
        answer = await self._api.call(
            "CreateQueue",
            {"QueueName": name, "Attributes": attributes},
            operation="create",
            stream=stream_of(name),
        )
        self._found[name] = str(answer["QueueUrl"])
        return self._found[name]

    async def describe(self, name: str) -> Queue:
        """What a queue is set to and holds. Raises ConfigError when there is none, CredentialError."""
        url = await self.url(name)
        answer = await self._api.call(
            "GetQueueAttributes",
            {"QueueUrl": url, "AttributeNames": ["All"]},
            operation="describe",
            stream=stream_of(name),
        )
        found = answer.get("Attributes")
        return Queue(name, url, found if isinstance(found, dict) else {})

    async def all(self) -> tuple[list[Queue], bool]:
        """Every queue by name, and whether these are all of them. Raises what listing raises; a queue that
        cannot be described says why."""
        urls: list[str] = []
        token = None
        while len(urls) <= MOST_QUEUES:
            body = {"MaxResults": 1000, **({"NextToken": token} if token else {})}
            answer = await self._api.call("ListQueues", body, operation="list")
            urls += _urls(answer)
            token = answer.get("NextToken")
            if not token:
                break
        return with_sources(await self._described(urls[:MOST_QUEUES])), len(urls) <= MOST_QUEUES

    async def some(self, count: int) -> list[Queue]:
        """Up to `count` queues. Raises what listing raises."""
        answer = await self._api.call("ListQueues", {"MaxResults": count}, operation="list", brief=True)
        return await self._described(_urls(answer)[:count])

    async def _described(self, urls: Sequence[str]) -> list[Queue]:
        self._found |= {name_of(url): url for url in urls}
        turn = asyncio.Semaphore(_AT_ONCE)

        async def one(url: str) -> Queue:
            async with turn:
                try:
                    return await self.describe(name_of(url))
                except PlatintError as error:
                    return Queue(name_of(url), url, trouble=error.sentence())

        found: list[Queue] = await in_full(one(url) for url in urls)
        return found

    async def sources(self, name: str) -> list[str]:
        """The names of the queues whose dead letters this queue keeps."""
        answer = await self._api.call(
            "ListDeadLetterSourceQueues",
            {"QueueUrl": await self.url(name), "MaxResults": 1000},
            operation="sources",
            stream=stream_of(name),
        )
        urls = answer.get("queueUrls") or answer.get("QueueUrls") or ()
        return sorted(name_of(url) for url in urls)


def _urls(answer: Mapping[str, Any]) -> list[str]:
    return [url for url in answer.get("QueueUrls") or () if isinstance(url, str)]


def with_sources(queues: Sequence[Queue]) -> list[Queue]:
    """The queues, sorted, each with those that send their dead letters to it."""
    sources: dict[str, list[str]] = {}
    for queue in queues:
        if queue.redrive is not None:
            sources.setdefault(queue.redrive[0], []).append(queue.name)
    return [
        Queue(item.name, item.url, item.attributes, item.trouble, tuple(sorted(sources.get(item.name, ()))))
        for item in sorted(queues, key=lambda item: item.name)
    ]


def as_stream(
    queue: Queue, fields: tuple[Field, ...], notes: Sequence[str], needs: tuple[str, ...]
) -> Stream:
    """A queue as it is listed."""
    facts = [("type", "FIFO" if queue.fifo else "standard")]
    told = zip(("waiting", "hidden", "delayed"), _DEPTHS, strict=True)
    facts += [(label, f"{count:,}") for label, name in told if (count := queue.number(name)) is not None]
    seconds = queue.number("VisibilityTimeout")
    if seconds is not None:
        facts.append(("visibility timeout", f"{seconds:,} s"))
    kept = queue.number("MessageRetentionPeriod")
    if kept is not None:
        facts.append(("retention", f"{kept / 86_400:g} days"))
    if queue.redrive is not None:
        facts.append(("dead letters to", clean(f"{queue.redrive[0]} after {queue.redrive[1]} receives")))
    if queue.sources:
        facts.append(("dead letters of", clean(", ".join(queue.sources))))
    own = [f"Not described: {queue.trouble}"] if queue.trouble else []
    return Stream(
        name=stream_of(queue.name),
        key=("id",),
        cursor=None,
        fields=fields,
        writable=True,
        estimate=queue.waiting,
        notes=(*notes, *own),
        needs=needs,
        kind="queue",
        modes=("consume",),
        facts=tuple(facts),
    )
