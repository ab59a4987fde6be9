"""Recorded exchanges instead of a network: the offline tests that every manifest ships."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

import httpx

from platint_tui.core.clock import SystemClock
from platint_tui.core.errors import ConfigError, PlatintError, SystemicError
from platint_tui.core.jsontext import dumps, loads
from platint_tui.core.model import Environment, Profile
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.auth import Static
from platint_tui.drivers.http.client import Answer
from platint_tui.drivers.http.driver import HttpDriver
from platint_tui.drivers.http.requests import profile_scope
from platint_tui.drivers.http.rules import Op, Rules
from platint_tui.manifest import schema
from platint_tui.manifest.addresses import address_of
from platint_tui.manifest.vectors import Exchange, Vector, VectorRequest

ORIGIN = "http://127.0.0.1"
_SECRET = "an-offline-test-needs-none"  # noqa: S105 - no secret
MAX_PAGES = 10_000


class ReplayTransport(httpx.AsyncBaseTransport):
    """Answers from recorded exchanges, in order; a request that was not recorded there is a SystemicError."""

    def __init__(self, exchanges: Sequence[Exchange], base_url: str = ORIGIN) -> None:
        """`base_url` is what the paths of the exchanges are added to."""
        self._exchanges = list(exchanges)
        self._base = urlsplit(base_url).path.rstrip("/")
        self.served = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The recorded answer to `request`."""
        if self.served >= len(self._exchanges):
            raise _unexpected(request, f"only {len(self._exchanges)} requests were recorded")
        exchange = self._exchanges[self.served]
        self.served += 1
        reason = _difference(exchange.request, request, self._base)
        if reason:
            raise _unexpected(request, reason)
        answer = exchange.response
        headers = {"content-type": "application/json", **{k.lower(): v for k, v in answer.headers.items()}}
        body = answer.body.encode()
        headers["content-length"] = str(len(body))
        # As a stream: content that is given whole counts as read already.
        return httpx.Response(answer.status, headers=headers, stream=httpx.ByteStream(body), request=request)


def _unexpected(request: httpx.Request, reason: str) -> SystemicError:
    return SystemicError(
        f"The request {request.method} {request.url.path} is not the recorded one: {reason}.",
        code="unexpected_request",
    )


def _difference(recorded: VectorRequest, request: httpx.Request, base: str) -> str:
    """What differs, '' when the request is the recorded one."""
    if recorded.method != request.method:
        return f"{recorded.method} was recorded"
    parts = urlsplit(str(request.url))
    expected = urlsplit(recorded.path)
    if parts.path != base + expected.path:
        return f"the path '{base}{expected.path}' was recorded"
    if recorded.query is not None or expected.query:
        wanted = sorted([*(recorded.query or {}).items(), *parse_qsl(expected.query, keep_blank_values=True)])
        got = sorted(parse_qsl(parts.query, keep_blank_values=True))
        if wanted != got:
            only = sorted({name for name, _ in set(wanted) ^ set(got)})
            return f"the query differs in {', '.join(only)}"
    if recorded.body is not None:
        text = request.content.decode("utf-8", "replace")
        sent = text if isinstance(recorded.body, str) else loads(text, "the request's body")
        if sent != recorded.body:
            return f"the body {dumps(recorded.body)[:200]} was recorded"
    return ""


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
    return await _read(connector, test, vector)


def _judge(connector: schema.Connector, test: schema.TestCase, vector: Vector) -> VectorOutcome:
    exchange = vector.exchanges[-1]
    recorded = exchange.response
    answer = Answer(
        recorded.status,
        httpx.Headers(dict(recorded.headers)),
        recorded.body.encode(),
        ORIGIN,
        len(recorded.body),
    )
    retry_headers = tuple(limit.headers.retry_after.lower() for limit in connector.limits)
    op: Op = "read" if exchange.request.method == "GET" else "write"
    rules = Rules(connector.errors.rules, retry_headers)
    verdict = rules.judge(answer, op, connector.platform, SystemClock().now_ms())
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


async def _read(connector: schema.Connector, test: schema.TestCase, vector: Vector) -> VectorOutcome:
    if test.resource is None:
        return VectorOutcome(test.name, ("it names no resource to read",))
    try:
        context = _context(connector, vector)
        base_url = address_of(
            connector.transport.base_url,
            profile_scope(context),
            context.profile.environment.value,
            plain_http=connector.transport.plain_http,
        )
        transport = ReplayTransport(vector.exchanges, base_url)
        driver = HttpDriver(context, transport, Static())
    except PlatintError as error:
        return VectorOutcome(test.name, (error.sentence(),))
    records, failures = 0, []
    raised: PlatintError | None = None
    try:
        pages = 0
        async for page in driver.read(test.resource, None):
            records += len(page.records)
            failures += [f"an element is no record: {bad.reason}" for bad in page.bad]
            pages += 1
            if pages >= MAX_PAGES:
                failures.append("it does not end")
                break
    except PlatintError as error:
        raised = error
    finally:
        await driver.close()
    expect = test.expect
    if raised is not None and raised.error_class != expect.class_:
        failures.append(raised.sentence())
    elif raised is None and expect.class_ is not None:
        failures.append(f"an error of class {expect.class_} is expected, it went well")
    if expect.records is not None and records != expect.records:
        failures.append(f"{expect.records} records are expected, {records} came")
    if expect.requests is not None and transport.served != expect.requests:
        failures.append(f"{expect.requests} requests are expected, {transport.served} were sent")
    elif raised is None and transport.served < len(vector.exchanges):
        failures.append(f"{len(vector.exchanges)} requests were recorded, {transport.served} were sent")
    return VectorOutcome(test.name, tuple(failures), records, transport.served)


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
