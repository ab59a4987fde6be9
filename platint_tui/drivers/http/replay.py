"""The offline tests that every manifest ships: recorded exchanges instead of a network, and no credential."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from platint_tui.core.clock import SystemClock
from platint_tui.core.errors import ConfigError, ErrorClass, PlatintError
from platint_tui.core.jsontext import canonical_key, dumps
from platint_tui.core.model import Batch, Environment, Profile, Row, TargetPlan
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.auth import Static
from platint_tui.drivers.http.client import Answer
from platint_tui.drivers.http.driver import HttpDriver
from platint_tui.drivers.http.headers import Headers
from platint_tui.drivers.http.recorded import ReplayTransport
from platint_tui.drivers.http.requests import profile_scope
from platint_tui.drivers.http.rules import Op, Rules
from platint_tui.drivers.http.session import places_of
from platint_tui.drivers.http.writer import HttpTarget
from platint_tui.manifest import schema
from platint_tui.manifest.loader import resource
from platint_tui.manifest.vectors import Vector, VectorRequest

ORIGIN = "http://127.0.0.1"
_SECRET = "an-offline-test-needs-none"  # noqa: S105 - no secret
MAX_PAGES = 10_000


@dataclass(frozen=True, slots=True)
class VectorOutcome:
    """How a test went: `failures` is empty when everything expected came about."""

    name: str
    failures: tuple[str, ...]
    records: int = 0
    requests: int = 0

    @property
    def ok(self) -> bool:
        """Whether the test passed."""
        return not self.failures


@dataclass(slots=True)
class _Found:
    """What came about in a test."""

    failures: list[str] = field(default_factory=list)
    records: int | None = None
    written: int | None = None
    streams: int | None = None
    classes: list[ErrorClass] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    error: PlatintError | None = None


class _NoLimits:
    async def acquire(self, limit: str, count: int, period: float, burst: int, weight: int = 1) -> None:
        """Offline nothing is limited."""

    async def block(self, limit: str, seconds: float) -> None:
        """Offline nobody waits."""


class _NoTelemetry:
    def observe(self, operation: str, seconds: float, ok: bool) -> None:
        """Offline nothing is measured."""


class _Hurried(SystemClock):
    async def sleep(self, seconds: float) -> None:
        """Offline no wait takes time."""


async def run_vector(
    connector: schema.Connector, test: schema.TestCase, vector: Vector | None
) -> VectorOutcome:
    """Run one test of a manifest against its recorded exchanges, without network or credential."""
    if vector is None:
        return VectorOutcome(test.name, ("it names no exchange",))
    if test.kind == "error":
        return _judge(connector, test, vector)
    found = _Found()
    try:
        async with _driver(connector, test, vector) as (driver, transport):
            try:
                await _RUNS[test.kind](driver, test, connector, found)
            except PlatintError as error:
                found.error = error
                found.classes.append(error.error_class)
                found.codes.append(error.code)
    except PlatintError as error:
        return VectorOutcome(test.name, (error.sentence(),))
    failures = [*found.failures, *_compared(test.expect, found)]
    wanted, recorded, sent = test.expect.requests, len(vector.exchanges), transport.served
    if wanted is not None and sent != wanted:
        failures.append(f"{wanted} requests are expected, {sent} were sent")
    elif found.error is None and sent < recorded:
        failures.append(f"{recorded} requests were recorded, {sent} were sent")
    return VectorOutcome(test.name, tuple(failures), found.records or 0, sent)


def _compared(expect: schema.TestExpect, found: _Found) -> list[str]:
    """What was expected and did not come about."""
    failures = []
    if found.error is not None and found.error.error_class != expect.class_:
        failures.append(found.error.sentence())
    if expect.class_ is not None and expect.class_ not in found.classes:
        came = f"{found.classes[0]} came" if found.classes else "it went well"
        failures.append(f"an error of class {expect.class_} is expected, {came}")
    if expect.code is not None and expect.code not in found.codes:
        failures.append(f"the code {expect.code} is expected, {', '.join(found.codes) or 'none'} came")
    for wanted, got, what in (
        (expect.records, found.records, "records are expected, {} came"),
        (expect.written, found.written, "rows are to be written, {} were"),
        (expect.streams, found.streams, "streams are expected, {} were found"),
    ):
        if wanted is not None and wanted != (got or 0):
            failures.append(f"{wanted} {what.format(got or 0)}")
    return failures


async def _read(
    driver: HttpDriver, test: schema.TestCase, connector: schema.Connector, found: _Found
) -> None:
    found.records = pages = 0
    async for page in driver.read(test.resource or "", None):
        found.records += len(page.records)
        found.failures += [f"an element is no record: {bad.reason}" for bad in page.bad]
        pages += 1
        if pages >= MAX_PAGES:
            found.failures.append("it does not end")
            break


async def _write(
    driver: HttpDriver, test: schema.TestCase, connector: schema.Connector, found: _Found
) -> None:
    name = test.resource or ""
    key = resource(connector, name).key or ()
    plan = TargetPlan("test", name, name, key, None, (), 1, "test", test.operation or "")
    target = await driver.open_target(plan)
    rows = [
        Row(
            canonical_key([number]),
            dumps(row),
            row,
            None,
            f"{test.name}-{number}",
        )
        for number, row in enumerate(test.rows)
    ]
    try:
        result = await target.write(Batch(rows, None))
    finally:
        await target.close()
    if isinstance(target, HttpTarget) and target.failure is not None:
        found.failures.append(target.failure.sentence())
    found.written = result.written
    for _, fault in result.faults:
        found.classes.append(fault.error_class)
        found.codes.append(fault.code)
    if test.expect.written is not None and found.written != test.expect.written:
        found.failures += [f"row {index + 1}: {fault.message}" for index, fault in result.faults]


async def _check(
    driver: HttpDriver, test: schema.TestCase, connector: schema.Connector, found: _Found
) -> None:
    for item in await driver.check():
        if not item.ok and item.error_class:
            found.classes.append(ErrorClass(item.error_class))
        unknown = "is not the recorded one" in item.detail
        if unknown or (not item.ok and not item.optional and test.expect.class_ is None):
            found.failures.append(f"{item.id}: {item.detail}")


async def _discover(
    driver: HttpDriver, test: schema.TestCase, connector: schema.Connector, found: _Found
) -> None:
    found.streams = len(await driver.discover())


_RUNS = {"read": _read, "write": _write, "check": _check, "discover": _discover}


def _judge(connector: schema.Connector, test: schema.TestCase, vector: Vector) -> VectorOutcome:
    exchange = vector.exchanges[-1]
    recorded = exchange.response
    answer = Answer(
        recorded.status,
        Headers({"content-type": "application/json", **dict(recorded.headers)}),
        recorded.body.encode(),
        ORIGIN,
        len(recorded.body),
    )
    retry_headers = tuple(limit.headers.retry_after.lower() for limit in connector.limits)
    reads = exchange.request.method == "GET" or (test.resource is not None and test.operation is None)
    op: Op = "read" if reads else "write"
    rules = Rules(connector.errors.rules, retry_headers)
    verdict = rules.judge(
        answer, op, connector.platform, SystemClock().now_ms(), _is_graphql(connector, exchange.request)
    )
    if verdict is None:
        return VectorOutcome(test.name, (f"status {recorded.status} is taken for a success",), requests=1)
    failures = []
    for name, wanted, got in (
        ("class", test.expect.class_, verdict.error_class),
        ("action", test.expect.action, verdict.action),
        ("code", test.expect.code, verdict.code),
    ):
        if wanted is not None and wanted != got:
            failures.append(f"{name} {wanted} is expected, the rules say {got}")
    return VectorOutcome(test.name, tuple(failures), requests=1)


def _is_graphql(connector: schema.Connector, request: VectorRequest) -> bool:
    """Whether a recorded request went to where the manifest sends GraphQL."""
    paths: set[str] = set()
    for item in connector.resources.values():
        writes = item.write
        operations = (writes.create, writes.upsert, writes.update, writes.delete) if writes else ()
        asked: Sequence[schema.Request | schema.WriteOp | None] = (
            item.read.request if item.read else None,
            *operations,
        )
        paths |= {one.path for one in asked if one is not None and one.graphql is not None}
    return request.method == "POST" and request.path in paths


@asynccontextmanager
async def _driver(
    connector: schema.Connector, test: schema.TestCase, vector: Vector
) -> AsyncIterator[tuple[HttpDriver, ReplayTransport]]:
    if test.kind == "discover":
        # The probes that discovery begins with are asked where they were recorded.
        asked = {item.request.path for item in vector.exchanges}
        kept = tuple(item for item in connector.check if item.request and item.request.path in asked)
        connector = connector.model_copy(update={"check": kept})
    context = _context(connector, vector)
    places = places_of(context, profile_scope(context))
    bases = [places[None].base_url, *(place.base_url for name, place in places.items() if name)]
    transport = ReplayTransport(vector.exchanges, bases, ordered=test.kind in ("read", "check"))
    driver = HttpDriver(context, transport, Static())
    try:
        yield driver, transport
    finally:
        await driver.close()


def _context(connector: schema.Connector, vector: Vector) -> DriverContext:
    """A profile of the recording's fields; what is missing is filled with what fits its type."""
    fields = dict(vector.profile)
    for item in connector.profile.fields:
        if item.secret or item.id in fields or (item.default is None and not item.required):
            continue
        if item.default is not None:
            fields[item.id] = item.default if isinstance(item.default, str) else dumps(item.default)
        else:
            fields[item.id] = {"url": ORIGIN, "integer": "1", "boolean": "true"}.get(item.type, "recorded")
    if not connector.transport.base_url:
        raise ConfigError("The manifest has no base URL.")
    profile = Profile("vector", connector.platform, Environment.DEVELOPMENT, fields, {})
    # Every secret has a value, so that the first way to sign in is chosen; nothing is signed with it.
    secrets = {item.id: Secret(_SECRET) for item in connector.profile.fields if item.secret}
    return DriverContext(connector, profile, secrets, _NoLimits(), _NoTelemetry(), _Hurried())
