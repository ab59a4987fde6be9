"""What an error answer means: the manifest's rules in order, then what HTTP itself says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from platint_tui.core.backoff import parse_retry_after
from platint_tui.core.errors import (
    ConfigError,
    CredentialError,
    ErrorClass,
    PlatintError,
    RateLimited,
    RecordError,
    SystemicError,
    TransientError,
)
from platint_tui.core.jsontext import loads
from platint_tui.core.model import Json
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.text import clean
from platint_tui.drivers.http.client import Answer
from platint_tui.drivers.http.translate import NetworkError
from platint_tui.manifest import schema
from platint_tui.manifest.template import lookup

Op = Literal["read", "write"]
_MESSAGE_PATHS = (
    "error.message", "message", "error_description", "errors.0.message", "errors.0.detail", "detail", "error",
    "title", "errors.0",
)  # fmt: skip
_CODE_PATHS = ("error.code", "code", "errors.0.code", "error.type")
MAX_MESSAGE = 300


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer (or none) means: class, action, the platform's code and words, seconds asked to wait."""

    error_class: ErrorClass
    action: schema.Action
    code: str
    message: str
    hint: str = ""
    wait: float | None = None
    then: str | None = None
    status: int | None = None
    hold: float | None = None
    """Seconds up to which the manifest has a wait held rather than the run parked."""

    def error(self, where: str, now_ms: int) -> PlatintError:
        """The verdict as the error that ends a stream."""
        if self.error_class is ErrorClass.RATE_LIMITED:
            until = now_ms + int((self.wait or 60.0) * 1000)
            return RateLimited(self.message, until_ms=until, hint=self.hint, where=where)
        kinds: dict[ErrorClass, type[PlatintError]] = {
            ErrorClass.AUTH: CredentialError,
            ErrorClass.CONFIG: ConfigError,
            ErrorClass.TRANSIENT: TransientError,
            ErrorClass.RECORD: RecordError,
        }
        kind = kinds.get(self.error_class, SystemicError)
        return kind(self.message, hint=self.hint, where=where, code=self.code)


class Rules:
    """The error rules of one connector."""

    def __init__(self, rules: tuple[schema.ErrorRule, ...], retry_headers: tuple[str, ...] = ()) -> None:
        self._rules = rules
        self._network = next((rule for rule in rules if rule.when.network), None)
        # A success is looked into only by rules that test more than the status.
        self._on_success = tuple(rule for rule in rules if rule.when.body or rule.when.header)
        self._retry_headers = retry_headers or ("retry-after",)

    def judge(self, answer: Answer, op: Op, host: str, now_ms: int) -> Verdict | None:
        """None for a success, else what the answer means."""
        success = 200 <= answer.status < 300
        if success and not self._on_success:
            return None
        body = _decoded(answer)
        for rule in self._on_success if success else self._rules:
            if _applies(rule.when, answer, body):
                return self._by_rule(rule, answer, body, op, host, now_ms)
        return None if success else self._by_status(answer, body, op, host, now_ms)

    def judge_network(self, error: NetworkError | TransientError) -> Verdict:
        """What it means that no whole answer came."""
        verdict = Verdict(ErrorClass.TRANSIENT, "retry", error.code, error.message, error.hint)
        rule = self._network
        if rule is not None:
            verdict = replace(
                verdict,
                error_class=rule.class_,
                action=rule.action,
                hint=rule.hint or error.hint,
                then=rule.then,
            )
        return verdict

    def _by_rule(
        self, rule: schema.ErrorRule, answer: Answer, body: Json, op: Op, host: str, now_ms: int
    ) -> Verdict:
        code = ""
        if rule.code is not None and rule.code.path is not None:
            code = _word(lookup(body, rule.code.path))
        wait = self._asked(answer, now_ms)
        if rule.wait is not None and rule.wait.header is not None:
            wait = _wait(answer.headers.get(rule.wait.header, ""), rule.wait.format, now_ms)
        return Verdict(
            rule.class_,
            rule.action,
            code or _code(answer, body),
            _sentence(answer, body, host),
            rule.hint,
            wait,
            rule.then,
            answer.status,
            rule.wait.cap if rule.wait is not None else None,
        )

    def _by_status(self, answer: Answer, body: Json, op: Op, host: str, now_ms: int) -> Verdict:
        status = answer.status
        action: schema.Action = "fail_stream"
        hint = ""
        if status in (401, 407):
            kind, hint = ErrorClass.AUTH, "Check the credential of the profile."
            action = "fail_run"
        elif status == 403:
            kind, hint = ErrorClass.AUTH, "The credential is not allowed to do this."
        elif status == 429:
            kind, action = ErrorClass.RATE_LIMITED, "wait"
        elif status >= 500 or status in (408, 425):
            kind, action = ErrorClass.TRANSIENT, "retry"
        elif op == "write" and status >= 400:
            kind, action = ErrorClass.RECORD, "dead_letter"
        else:
            kind = ErrorClass.SYSTEMIC
        wait = self._asked(answer, now_ms)
        return Verdict(
            kind, action, _code(answer, body), _sentence(answer, body, host), hint, wait, None, status
        )

    def _asked(self, answer: Answer, now_ms: int) -> float | None:
        for name in self._retry_headers:
            value = answer.headers.get(name)
            if value is not None:
                return _wait(value, "retry_after", now_ms)
        return None


def _wait(value: str, form: str, now_ms: int) -> float | None:
    if form == "epoch_s":
        try:
            moment = float(value)
        except ValueError:
            return None
        return max(0.0, moment - now_ms / 1000) if math.isfinite(moment) else None
    return parse_retry_after(value, now_ms)


def _applies(when: schema.When, answer: Answer, body: Json) -> bool:
    if when.status is None and when.body is None and when.header is None:
        return False
    if when.status is not None and not when.status.matches(answer.status):
        return False
    if when.status is None and not when.body and answer.status < 400:
        return False
    if when.body is not None and not _body_holds(when.body, body):
        return False
    return when.header is None or _header_holds(when.header, answer.headers)


def _body_holds(test: schema.BodyMatch, body: Json) -> bool:
    missing = object()
    value = lookup(body, test.path, missing)
    if value is missing:
        return False
    if test.equals is not None and not _same(value, test.equals):
        return False
    if test.in_ is not None and not any(_same(value, item) for item in test.in_):
        return False
    return test.contains is None or (isinstance(value, str) and test.contains in value)


def _same(value: Json, expected: Json) -> bool:
    return bool(value == expected) and isinstance(value, bool) == isinstance(expected, bool)


def _header_holds(test: schema.HeaderMatch, headers: Mapping[str, str]) -> bool:
    value = headers.get(test.name)
    if value is None:
        return False
    if test.equals is not None and value.strip() != test.equals:
        return False
    if test.in_ is not None and value.strip() not in test.in_:
        return False
    return test.contains is None or test.contains in value


def _decoded(answer: Answer) -> Json:
    if answer.body[:64].lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        return loads(answer.body)
    except SystemicError:
        return None


def _word(value: Json) -> str:
    if isinstance(value, str | int) and not isinstance(value, bool):
        return clean(REDACTOR.redact(str(value)))[:80]
    return ""


def _code(answer: Answer, body: Json) -> str:
    for path in _CODE_PATHS:
        found = _word(lookup(body, path))
        if found:
            return found
    return str(answer.status)


def _sentence(answer: Answer, body: Json, host: str) -> str:
    for path in _MESSAGE_PATHS:
        value = lookup(body, path)
        if isinstance(value, str) and value.strip():
            said = clean(REDACTOR.redact(value.strip()))[:MAX_MESSAGE]
            return f"{host} answered {answer.status}: {said}"
    return f"{host} answered {answer.status}."
