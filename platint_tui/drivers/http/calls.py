"""One call to a platform: limits, signing, the exchange, and trying again where that is safe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from platint_tui.core.backoff import RetryPolicy, backoff
from platint_tui.core.errors import ErrorClass, PlatintError, RateLimited, TransientError, joined
from platint_tui.core.wire import count_request
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.auth import Authorizer, Signed, Static, Unsigned
from platint_tui.drivers.http.client import Answer, HttpClient
from platint_tui.drivers.http.documents import Document
from platint_tui.drivers.http.limits import LONGEST_WAIT, Call, Limits
from platint_tui.drivers.http.rules import NOT_JSON, Op, Rules, Verdict
from platint_tui.drivers.http.signers import Signers
from platint_tui.drivers.http.translate import NetworkError
from platint_tui.manifest.fields import Statuses
from platint_tui.manifest.loader import family_of
from platint_tui.manifest.template import lookup

LONGEST_PARK = 86_400.0
"""Seconds after which a parked run tries again even when the platform named a later time: a header that says years
must not end a sync for good."""
BRIEF_TRIES = 3
BRIEF_WAIT = 2.0
UNKNOWN = "unknown_outcome"
_UNREADABLE = frozenset({"coding", "too_large", "unframed"})
"""Codes of errors that say that an answer came and cannot be read."""


@dataclass(slots=True)
class Trace:
    """Whether a request is out and may have been carried out: true from sending it until it was refused.

    `acted`: it was answered with 303, so it was carried out, whatever became of the question for its result.
    """

    sent: bool = False
    acted: bool = False


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request without its credential. `safe`: sending it twice does no more than sending it once.

    `endpoint` is the one of `transport.endpoints` that it goes to, `resource` the stream that it is for, `weight`
    what it costs in the limits. With `graphql` an answer that has `errors` is an error.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    safe: bool = True
    trace: Trace = field(default_factory=Trace)
    endpoint: str | None = None
    resource: str = ""
    weight: int = 1
    graphql: bool = False
    bare: bool = False
    """It goes without the credential: to an address for downloads that is none of the platform's own."""
    ends: Statuses | None = None
    """Statuses that are the answer itself, redirects among them."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a call ended: the answer if any, the verdict if it was no success, how often it was sent."""

    answer: Answer | None
    verdict: Verdict | None
    requests: int


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One time that a request was sent. `sent`: it may have reached the platform; `final`: what became of it
    is not known, and it must not be sent again; `partly`: it failed, and has results beside its errors."""

    signed: Signed
    answer: Answer | None
    verdict: Verdict | None
    sent: bool
    final: bool = False
    partly: bool = False


class Caller:
    """Makes the calls of one profile."""

    def __init__(self, context: DriverContext, client: HttpClient, signers: Signers) -> None:
        connector = context.connector
        self.host = client.origins.base.partition("://")[2]
        self._context = context
        self._name = connector.name
        self._client = client
        self.signers = signers
        self._policy: RetryPolicy = connector.errors.policy.retry_policy()
        headers = dict.fromkeys(limit.headers.retry_after.lower() for limit in connector.limits)
        self.rules = Rules(connector.errors.rules, tuple(headers))
        self._limits = Limits(context, self.host)

    async def call(self, operation: str, op: Op, request: Outgoing, *, brief: bool = False) -> Result:
        """Send `request` until it succeeds, is refused, or the retry policy is spent.

        Raises RateLimited when the platform asks for a longer wait than a worker should hold its slot,
        ConfigError, CredentialError and SystemicError from the exchange itself. Failures that a rule or HTTP
        gives a meaning to come back as the verdict; its code is `unknown_outcome` when an unsafe request was
        sent and nobody can say whether it was carried out. `brief`, for a person who waits: three tries, none
        after a failure of the network, and short waits; RateLimited comes only from a limit that is used up.
        """
        call = Call(op, request.resource, request.endpoint, request.weight, operation)
        spent = 0.0
        failures = holds = requests = 0
        refreshed = learned = False
        signer = Static() if request.bare else self.signers.at(request.endpoint)
        while True:
            attempt = await self._attempt(call, op, request, signer)
            requests += 1
            answer, verdict, signed = attempt.answer, attempt.verdict, attempt.signed
            if verdict is None:
                return Result(answer, None, requests)
            if attempt.final:
                return Result(None, verdict, requests)
            if attempt.sent and not request.safe and (attempt.partly or _doubtful(verdict, answer)):
                # Whatever the rule says: only a refusal makes it sure that nothing was done.
                return Result(answer, _unknown(verdict, self._name), requests)
            request.trace.sent = False
            if _renewable(signer, verdict) and not refreshed:
                await signer.refresh(signed)
                refreshed = True
                continue
            if answer is not None and not learned and signer.learn(answer):
                learned = True
                continue
            if brief:
                if answer is None or requests >= BRIEF_TRIES or verdict.action not in ("retry", "wait"):
                    return Result(answer, verdict, requests)
                await self._context.clock.sleep(min(verdict.wait or 0.2 * requests, BRIEF_WAIT))
                continue
            if verdict.action == "wait" or verdict.error_class is ErrorClass.RATE_LIMITED:
                spent += await self._hold(call, verdict, holds, spent)
                holds += 1
                continue
            if verdict.action != "retry":
                return Result(answer, verdict, requests)
            failures += 1
            pause = max(verdict.wait or 0.0, backoff(self._policy, failures, self._context.rng))
            if verdict.wait and self._policy.attempts == 1:
                # Whoever keeps the tries himself is told when the next one makes sense.
                raise self._parked(verdict, verdict.wait)
            if failures >= self._policy.attempts or spent + pause > self._policy.budget:
                return Result(answer, replace(verdict, message=_spent(verdict.message, requests)), requests)
            if verdict.wait and verdict.wait > LONGEST_WAIT:
                raise self._parked(verdict, verdict.wait)
            pause = min(pause, LONGEST_WAIT)
            await self._context.clock.sleep(pause)
            spent += pause

    async def _attempt(self, call: Call, op: Op, request: Outgoing, signer: Authorizer) -> _Attempt:
        """Send `request` once, when the limits allow it."""
        async with self._limits.admitted(call):
            # Signed as late as this: a signature is good for some minutes only, or for one second.
            signed = await signer.sign(
                Unsigned(request.method, request.url, request.headers, request.content)
            )
            try:
                answer = await self._timed(call, request, signed)
            except TransientError as error:
                sent = error.sent if isinstance(error, NetworkError) else True
                return _Attempt(signed, None, self.rules.judge_network(error, op), sent)
            except PlatintError as error:
                if request.safe or not (error.code in _UNREADABLE or request.trace.acted):
                    raise
                # The platform answered, what it did is lost: to send it again might do it twice.
                damaged = Verdict(error.error_class, "dead_letter", error.code, error.message)
                return _Attempt(signed, None, _unknown(damaged, self._name), sent=True, final=True)
            document = Document(answer)
            if self.rules.looks_into(answer, request.graphql) or self._limits.looks_into(call):
                await document.ready()
            await self._limits.learn(call, answer, document)
        now = self._context.clock.now_ms()
        verdict = self.rules.judge(answer, op, self._name, now, request.graphql, document)
        if verdict is not None and _not_permitted(verdict):
            verdict = self._with_needs(verdict, call)
        if verdict is not None and request.trace.acted and not request.safe:
            # It was carried out; only the question for its result was refused.
            return _Attempt(signed, None, _unknown(verdict, self._name), sent=True, final=True)
        partly = verdict is not None and request.graphql and _has_results(document)
        return _Attempt(signed, answer, verdict, sent=True, partly=partly)

    def _with_needs(self, verdict: Verdict, call: Call) -> Verdict:
        """A refusal says what reading or writing the stream needs, where the platform has not named it."""
        connector = self._context.connector
        resource = connector.resources.get(family_of(connector, call.resource)) if call.resource else None
        if resource is None:
            return verdict
        needs = resource.needs if call.op == "read" else resource.write_needs
        if not needs or any(item in verdict.message for item in needs):
            return verdict
        told = f"{'Reading' if call.op == 'read' else 'Writing'} {call.resource} needs: {', '.join(needs)}."
        return replace(verdict, hint=joined(verdict.hint, told))

    async def _timed(self, call: Call, request: Outgoing, signed: Signed) -> Answer:
        clock = self._context.clock
        started = clock.monotonic()
        ok = False

        async def hop(status: int) -> None:
            request.trace.acted = request.trace.acted or status == 303
            if request.safe:
                # A write in the middle is not held up: parked there, nobody would know what became of it.
                await self._limits.counted(call)

        try:
            request.trace.sent, request.trace.acted = True, False
            count_request()
            answer = await self._client.exchange(
                request.method,
                signed.url,
                signed.headers,
                request.content,
                ends=request.ends,
                endpoint=request.endpoint,
                hop=hop,
            )
            ok = answer.status < 400
            return answer
        finally:
            self._context.telemetry.observe(call.kind, clock.monotonic() - started, ok)

    async def _hold(self, call: Call, verdict: Verdict, holds: int, spent: float) -> float:
        """Wait as the platform asked, for everyone under the same limits; seconds waited."""
        asked = verdict.wait
        pause = asked if asked is not None else backoff(self._policy, holds + 1, self._context.rng)
        # A platform that says "0 seconds" again and again would be hammered.
        pause = max(pause, 0.05 * (holds + 1) if asked is not None else 0.2)
        await self._limits.block(call, min(pause, LONGEST_PARK))
        if pause > min(LONGEST_WAIT, verdict.hold or LONGEST_WAIT):
            raise self._parked(verdict, pause)
        if spent + pause > self._policy.budget:
            raise self._parked(verdict, LONGEST_WAIT * 2)
        pause += self._context.rng.uniform(0.0, min(1.0, pause / 4))
        await self._context.clock.sleep(pause)
        return pause

    def _parked(self, verdict: Verdict, seconds: float) -> RateLimited:
        until = self._context.clock.now_ms() + int(min(seconds, LONGEST_PARK) * 1000)
        told = f"{verdict.message.rstrip('.')}. {self.host} asked to wait {_span(seconds)}."
        if seconds > LONGEST_PARK:
            told += f" It is asked again after {_span(LONGEST_PARK)}."
        return RateLimited(told, until_ms=until, hint=verdict.hint)


def _not_permitted(verdict: Verdict) -> bool:
    """Whether this was refused to the credential, and not the credential itself."""
    return verdict.error_class is ErrorClass.AUTH and "fail_run" not in (verdict.action, verdict.then)


def _renewable(signer: Authorizer, verdict: Verdict) -> bool:
    return signer.refreshable and (verdict.status == 401 or verdict.action == "refresh_auth")


def _doubtful(verdict: Verdict, answer: Answer | None) -> bool:
    """Whether a request that was sent and did not succeed may have been carried out all the same."""
    if answer is None:
        return True
    if verdict.action == "ignore" or verdict.error_class is ErrorClass.RATE_LIMITED:
        return False
    if verdict.action == "retry" or verdict.error_class is ErrorClass.TRANSIENT:
        return True
    if answer.status < 300 and verdict.code == NOT_JSON:
        return True  # a page that says neither yes nor no
    return verdict.error_class is ErrorClass.SYSTEMIC and answer.status >= 500


def _has_results(document: Document) -> bool:
    """Whether an answer of GraphQL has `errors` and a member of `data` all the same: a mutation was carried out,
    and something of its result could not be told."""
    data = lookup(document.tree, "data")
    done = isinstance(data, Mapping) and any(value is not None for value in data.values())
    return done and bool(lookup(document.tree, "errors"))


def _unknown(verdict: Verdict, host: str) -> Verdict:
    return replace(
        verdict,
        error_class=ErrorClass.TRANSIENT,
        action="dead_letter",
        code=UNKNOWN,
        message=f"{verdict.message} Whether {host} carried the write out is not known.",
        hint="Look on the platform before replaying: this write has no idempotency key.",
    )


def _spent(message: str, requests: int) -> str:
    return f"{message} Tried {requests} times." if requests > 1 else message


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
