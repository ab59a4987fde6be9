"""What the management API of RabbitMQ tells: queues, exchanges, bindings. Reading it takes the tag `monitoring` (or
`management`, for what the user may see anyway).

Paths and members are those of its HTTP API reference (rabbitmq_management, 3.8 and later).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from shlex import quote as shell_quote
from typing import Any
from urllib.parse import quote

from platint_tui.core.errors import ConfigError, CredentialError, PlatintError, SystemicError, TransientError
from platint_tui.core.model import Json
from platint_tui.drivers.amqp.profile import Address
from platint_tui.drivers.http.json_api import JsonApi

MOST_PAGES = 20
PAGE = 500
_QUEUE = (
    "name,type,durable,auto_delete,exclusive,arguments,effective_policy_definition,messages_ready,"
    "messages_unacknowledged,consumers,head_message_timestamp,delivery_limit,"
    "message_stats.publish_details.rate,message_stats.deliver_get_details.rate"
)
_DEFAULT_LIMIT = 20
"""Deliveries that a quorum queue of RabbitMQ 4 allows where nothing else is said."""


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """One queue. `settings` are its arguments and what a policy sets, under the names of arguments without `x-`."""

    name: str
    kind: str
    durable: bool
    exclusive: bool
    ready: int | None
    unacknowledged: int | None
    consumers: int | None
    rate_in: float | None
    rate_out: float | None
    head_ms: int | None
    settings: Mapping[str, Any]

    @property
    def dead_letter_exchange(self) -> str | None:
        """Where its dead letters are published; "" is the default exchange, None: they are dropped."""
        found = self.settings.get("dead-letter-exchange")
        return found if isinstance(found, str) else None

    @property
    def dead_letter_key(self) -> str | None:
        """The routing key of its dead letters, None: the one that they came with."""
        found = self.settings.get("dead-letter-routing-key")
        return found if isinstance(found, str) else None

    @property
    def delivery_limit(self) -> int | None:
        """After how many returned deliveries the broker takes a message away, None: never."""
        found = self.settings.get("delivery-limit")
        return found if self.kind == "quorum" and isinstance(found, int) and found >= 0 else None


@dataclass(frozen=True, slots=True)
class ExchangeInfo:
    """One exchange."""

    name: str
    kind: str
    internal: bool


@dataclass(frozen=True, slots=True)
class Binding:
    """From an exchange to a queue (or to another exchange)."""

    source: str
    destination: str
    to_queue: bool
    key: str


class Management:
    """The management API of one virtual host."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._vhost = quote(address.vhost, safe="")
        self._major = ""
        self._api: JsonApi | None = None

    def _opened(self) -> JsonApi:
        """Raises ConfigError for an address that cannot be used."""
        address = self._address
        if self._api is None:
            self._api = JsonApi(
                address.management,
                address.user,
                address.password,
                connect=address.connect_seconds,
                total=address.total_seconds,
                ca_file=address.ca_file,
                plain_http=not address.tls,
            )
        return self._api

    async def version(self) -> str:
        """The broker's version, as the API tells it. Raises PlatintError with the remedy."""
        found = _object(await self._get("api/overview", {"columns": "rabbitmq_version"}))
        version = str(found.get("rabbitmq_version", ""))
        self._major = version.partition(".")[0]
        return version

    async def queues(self) -> tuple[list[QueueInfo], bool]:
        """The queues, and whether these are all of them."""
        items, whole = await self._pages(f"api/queues/{self._vhost}", _QUEUE)
        return [_queue(item, await self._release()) for item in items], whole

    async def queue(self, name: str) -> QueueInfo:
        """One queue. Raises ConfigError (code `not_found`) when there is none."""
        found = await self._get(f"api/queues/{self._vhost}/{quote(name, safe='')}", {"columns": _QUEUE})
        return _queue(_object(found), await self._release())

    async def _release(self) -> str:
        """The broker's major version."""
        if not self._major:
            await self.version()
        return self._major

    async def exchanges(self) -> tuple[list[ExchangeInfo], bool]:
        """The exchanges, and whether these are all of them."""
        items, whole = await self._pages(f"api/exchanges/{self._vhost}", "name,type,internal")
        return [
            ExchangeInfo(str(item["name"]), str(item.get("type", "")), bool(item.get("internal")))
            for item in items
        ], whole

    async def bindings(self) -> list[Binding]:
        """The bindings of exchanges other than the default one."""
        found = await self._get(f"api/bindings/{self._vhost}")
        return [
            Binding(
                str(item["source"]),
                str(item.get("destination", "")),
                item.get("destination_type") == "queue",
                str(item.get("routing_key", "")),
            )
            for item in (found if isinstance(found, list) else ())
            if isinstance(item, Mapping) and item.get("source")
        ]

    async def close(self) -> None:
        """Close the connections."""
        if self._api is not None:
            await self._api.close()

    async def _pages(self, path: str, columns: str) -> tuple[list[Mapping[str, Any]], bool]:
        items: list[Mapping[str, Any]] = []
        for page in range(1, MOST_PAGES + 1):
            query = {"page": str(page), "page_size": str(PAGE), "columns": columns}
            found = _object(await self._get(path, query))
            part = found.get("items")
            if not isinstance(part, list):
                raise SystemicError(
                    "The management API gives no list of items.", where=self._address.management
                )
            items += [
                item for item in part if isinstance(item, Mapping) and isinstance(item.get("name"), str)
            ]
            if page >= int(found.get("page_count") or 0):
                return items, True
        return items, False

    async def _get(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        try:
            return await self._opened().get(path, query)
        except (CredentialError, ConfigError, TransientError) as error:
            raise self._with_remedy(error) from None

    def _with_remedy(self, error: PlatintError) -> PlatintError:
        if isinstance(error, CredentialError) or error.code == "forbidden":
            user = shell_quote(self._address.user)
            error.hint = f"Let the user see it: rabbitmqctl set_user_tags {user} monitoring"
        elif isinstance(error, TransientError):
            error.hint = (
                "Turn it on with `rabbitmq-plugins enable rabbitmq_management`, or correct the profile's"
                " management address."
            )
        return error


def _object(value: Json) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SystemicError("The management API answers with something that is no object.", code="json")
    return value


def _queue(item: Mapping[str, Any], major: str) -> QueueInfo:
    policy = item.get("effective_policy_definition")
    settings: dict[str, Any] = dict(policy) if isinstance(policy, Mapping) else {}
    arguments = item.get("arguments")
    if isinstance(arguments, Mapping):
        settings |= {name.removeprefix("x-"): value for name, value in arguments.items()}
    limit = item.get("delivery_limit")
    if isinstance(limit, int):
        settings["delivery-limit"] = limit  # what holds, whoever said it
    elif major not in ("", "3"):
        settings.setdefault("delivery-limit", _DEFAULT_LIMIT)
    head = item.get("head_message_timestamp")
    return QueueInfo(
        str(item["name"]),
        str(item.get("type") or "classic"),
        bool(item.get("durable")),
        bool(item.get("exclusive")),
        _number(item, "messages_ready"),
        _number(item, "messages_unacknowledged"),
        _number(item, "consumers"),
        _rate(item, "publish_details"),
        _rate(item, "deliver_get_details"),
        head * 1000 if isinstance(head, int) else None,
        settings,
    )


def _number(item: Mapping[str, Any], name: str) -> int | None:
    value = item.get(name)
    return value if isinstance(value, int) else None


def _rate(item: Mapping[str, Any], name: str) -> float | None:
    stats = item.get("message_stats")
    details = stats.get(name) if isinstance(stats, Mapping) else None
    rate = details.get("rate") if isinstance(details, Mapping) else None
    return float(rate) if isinstance(rate, int | float) else None


def dead_letter_origins(
    queues: Sequence[QueueInfo], exchanges: Sequence[ExchangeInfo], bindings: Sequence[Binding]
) -> dict[str, list[str]]:
    """Per dead-letter queue the queues whose dead letters are routed to it, as far as bindings tell.

    A headers exchange, and a key that is only known when a message dies, count as leading to every queue that is
    bound.
    """
    kinds = {item.name: item.kind for item in exchanges}
    names = {item.name for item in queues}
    bound: dict[str, list[Binding]] = {}
    for binding in bindings:
        bound.setdefault(binding.source, []).append(binding)
    origins: dict[str, list[str]] = {}
    for queue in queues:
        exchange = queue.dead_letter_exchange
        if exchange is None:
            continue
        for name in _routed(exchange, queue.dead_letter_key, kinds, bound, set()):
            if name in names and name != queue.name:
                known = origins.setdefault(name, [])
                if queue.name not in known:
                    known.append(queue.name)
    return origins


def _routed(
    exchange: str,
    key: str | None,
    kinds: Mapping[str, str],
    bound: Mapping[str, Sequence[Binding]],
    seen: set[str],
) -> list[str]:
    """Queues that a message with this key reaches from an exchange; `seen` are exchanges that it passed."""
    if exchange == "":
        return [key] if key is not None else []
    if exchange in seen:
        return []
    seen.add(exchange)
    found: list[str] = []
    for binding in bound.get(exchange, ()):
        if key is not None and not _matches(kinds.get(exchange, ""), binding.key, key):
            continue
        if binding.to_queue:
            found.append(binding.destination)
        else:
            found += _routed(binding.destination, key, kinds, bound, seen)
    return found


def _matches(kind: str, pattern: str, key: str) -> bool:
    if kind == "direct":
        return pattern == key
    if kind == "topic":
        return topic_matches(pattern.split("."), key.split("."))
    return True


def topic_matches(pattern: Sequence[str], words: Sequence[str]) -> bool:
    """Whether a binding key of a topic exchange takes a routing key: `*` is one word, `#` any number of them."""
    reached = {0}
    for part in pattern:
        if part == "#":
            reached = set(range(min(reached), len(words) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(words) and part in ("*", words[at])}
        if not reached:
            return False
    return len(words) in reached
