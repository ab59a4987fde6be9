"""Which queues hold dead letters, and whether looking into one may cost a message.

A quorum queue with a delivery limit counts every delivery that comes back to it (`x-delivery-count`) and takes the
message away when there were too many, so looking often at the same messages would lose them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from platint_tui.core.errors import ConfigError, PlatintError
from platint_tui.core.model import DeadQueue
from platint_tui.core.text import clean
from platint_tui.drivers.amqp.link import Link
from platint_tui.drivers.amqp.management import Management, dead_letter_origins
from platint_tui.drivers.amqp.session import ready_count

_LEAST_LIMIT = 4
"""Below this delivery limit a queue is not looked into at all."""
_ASSUMED_LIMIT = 10
"""What is assumed of a quorum queue whose limit cannot be asked for."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How many deliveries the messages of a queue bear: `limit`, None for any number; `known` is whether the
    management API told, and then `kind` is what it calls the queue."""

    queue: str
    limit: int | None
    known: bool
    kind: str = ""

    def before(self, where: str) -> None:
        """Raise ConfigError when the queue is not to be looked into."""
        if self.known and self.limit is not None and self.limit < _LEAST_LIMIT:
            raise self._refusal(
                f"The delivery limit of the queue '{clean(self.queue)}' is {self.limit}", where
            )

    def check(self, deliveries: int | None, where: str) -> None:
        """Raise ConfigError when a message that was delivered so often before should not be looked at again."""
        if deliveries is None or self.limit is None or deliveries < self.limit // 2:
            return
        left = max(0, self.limit - deliveries - 1)
        limit = f"{self.limit}" if self.known else f"not known, and taken to be {self.limit}"
        raise self._refusal(
            f"A message of '{clean(self.queue)}' was delivered and returned {deliveries + 1} times, and the"
            f" queue's delivery limit is {limit}: {left} more, and it is gone",
            where,
        )

    @staticmethod
    def _refusal(what: str, where: str) -> ConfigError:
        return ConfigError(
            f"{what}.",
            where=where,
            hint="Every look counts as a delivery. Set the policy delivery-limit of this queue to -1 first.",
            code="delivery_limit",
        )


async def patience_of(management: Management | None, queue: str) -> Patience:
    """What is known of a queue's delivery limit."""
    if management is not None:
        try:
            found = await management.queue(queue)
            return Patience(queue, found.delivery_limit, True, found.kind)
        except PlatintError:
            pass  # whoever may not ask is careful
    return Patience(queue, _ASSUMED_LIMIT, False)


async def found_dead_queues(link: Link, management: Management) -> list[DeadQueue]:
    """The queues that dead letters are routed to, as arguments, policies and bindings say. Raises PlatintError."""
    queues, _ = await management.queues()
    exchanges, _ = await management.exchanges()
    origins = dead_letter_origins(queues, exchanges, await management.bindings())
    heads = {item.name: item.head_ms for item in queues}
    return [
        DeadQueue(
            name, "queue", of[0] if len(of) == 1 else "", await ready_count(link, name), heads.get(name)
        )
        for name, of in sorted(origins.items())
    ]


async def named_dead_queues(link: Link, names: Sequence[str]) -> list[DeadQueue]:
    """The queues that the profile names. Raises ConfigError for one that is not there."""
    return [DeadQueue(name, "queue", "", await ready_count(link, name)) for name in names]
