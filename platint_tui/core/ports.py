"""What drivers are given and what they must offer: the seam between protocols and the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from platint_tui.core.model import (
    Batch,
    Capability,
    Confirmed,
    Field,
    Json,
    JsonObject,
    Page,
    Stream,
    TargetPlan,
    WriteResult,
)


class Limiter(Protocol):
    """Admission to a platform, shared by every process that uses the same credential."""

    async def acquire(self, limit: str, count: int, period: float, burst: int, weight: int = 1) -> None:
        """Wait until one more call under `limit` (`count` per `period` seconds) is allowed.

        Raises RateLimited when the wait is longer than a worker should hold its slot.
        """

    async def block(self, limit: str, seconds: float) -> None:
        """The platform asked everyone under `limit` to wait this long (Retry-After)."""


class Telemetry(Protocol):
    """Where drivers report what each request took and how it ended."""

    def observe(self, operation: str, seconds: float, ok: bool) -> None:
        """One request of `operation` took `seconds`; `ok` is false for an error answer or none."""


class TokenStore(Protocol):
    """Where the tokens of one profile's sign-in are kept, for every process that uses it."""

    async def load(self) -> Mapping[str, Json] | None:
        """The tokens as they are now, None before anyone signed in. Raises CredentialError."""

    def locked(self) -> AbstractAsyncContextManager[None]:
        """Keep every other task and process from renewing these tokens. Raises TransientError after a while."""

    async def save(self, tokens: Mapping[str, Json]) -> None:
        """Keep the tokens; on return they are on disk. Raises CredentialError."""


class Target(Protocol):
    """An open target for one stream of one run."""

    transactional: bool
    """Whether rows and position are stored in one transaction in the target itself."""

    async def confirmed(self) -> Confirmed | None:
        """The position that the target itself holds for this sync, None without one."""

    async def write(self, batch: Batch) -> WriteResult:
        """Write the rows (and, if transactional, the position with them).

        Rows that are refused come back as faults while the others are written. Raises Fenced, TransientError,
        RateLimited, CredentialError, SystemicError; then nothing of the batch counts as written.
        """

    async def close(self) -> None:
        """Release what the target holds."""


class Driver(Protocol):
    """One account on one platform, spoken to by one protocol."""

    async def check(self) -> Sequence[Capability]:
        """Run the probes of the manifest in order."""

    async def discover(self) -> Sequence[Stream]:
        """The streams that this account offers."""

    def read(self, stream: str, position: JsonObject | None) -> AsyncIterator[Page]:
        """Pages of `stream` from `position` (None: from the beginning) to the end of one scan."""

    async def open_target(self, plan: TargetPlan) -> Target:
        """Get ready to write `plan.target`: check its shape, create what the contract allows.

        Raises ConfigError when the target has another shape.
        """

    async def describe_target(self, target: str) -> Sequence[Field] | None:
        """The fields that writing to `target` knows of, None when it takes any."""

    async def close(self) -> None:
        """Release connections."""
