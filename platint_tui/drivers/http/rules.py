"""What an error answer means: the manifest's rules in order, then what HTTP itself says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

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
from platint_tui.core.model import Json
from platint_tui.drivers.http.client import Answer
from platint_tui.drivers.http.documents import HTML_HINT, Document, code_of, is_page, message_of, words
from platint_tui.drivers.http.matching import body_holds, header_holds
from platint_tui.drivers.http.translate import NetworkError
from platint_tui.drivers.http.waits import seconds_to_wait
from platint_tui.manifest import schema
from platint_tui.manifest.template import lookup

Op = Literal["read", "write"]
NOT_JSON = "not_json"
"""Code of an HTML page where an answer of the API is expected."""
_NOTHING_THERE = (
    "There is nothing at this address: does the account have this feature, and is the path right?"
)


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
        """`retry_headers` are those that may say how long to wait, in the form of Retry-After."""
        self._rules = rules
        # A success is looked into only by rules that test more than the status.
        self._on_success = tuple(rule for rule in rules if _looks_deeper(rule.when))
        self._retry_headers = retry_headers or ("retry-after",)

    def looks_into(self, answer: Answer, graphql: bool) -> bool:
        """Whether judging an answer needs its tree."""
        return graphql or bool(self._on_success) or not 200 <= answer.status < 300

    def judge(
        self,
        answer: Answer,
        op: Op,
        host: str,
        now_ms: int,
        graphql: bool = False,
        document: Document | None = None,
    ) -> Verdict | None:
        """None for a success, else what the answer means. With `graphql`, `errors` in the answer are an error
        whatever the status."""
        success = 200 <= answer.status < 300
        document = document or Document(answer)
        for rule in self._on_success if success else self._rules:
            if _counts_for(rule, op, answer) and _applies(rule.when, answer, document):
                return self._by_rule(rule, answer, document.tree, host, now_ms)
        if not success:
            return self._by_status(answer, document.tree, op, host, now_ms)
        if is_page(answer):
            return _page(answer, host)
        if graphql and (errors := lookup(document.tree, "errors")):
            return _graphql(answer, errors, document.tree, op, host)
        return None

    def judge_network(self, error: NetworkError | TransientError, op: Op) -> Verdict:
        """What it means that no whole answer came."""
        verdict = Verdict(ErrorClass.TRANSIENT, "retry", error.code, error.message, error.hint)
        rule = next((rule for rule in self._rules if rule.when.network and rule.when.op in (None, op)), None)
        if rule is not None:
            verdict = replace(
                verdict,
                error_class=rule.class_,
                action=rule.action,
                hint=rule.hint or error.hint,
                then=rule.then,
            )
        return verdict

    def _by_rule(self, rule: schema.ErrorRule, answer: Answer, tree: Json, host: str, now_ms: int) -> Verdict:
        code = _said_code(rule.code, answer, tree) if rule.code is not None else ""
        return Verdict(
            rule.class_,
            rule.action,
            code or code_of(answer, tree),
            _with_detail(message_of(answer, tree, host), rule.detail, answer, tree),
            rule.hint,
            self._said_wait(rule.wait, answer, tree, now_ms),
            rule.then,
            answer.status,
            rule.wait.cap if rule.wait is not None else None,
        )

    def _by_status(self, answer: Answer, tree: Json, op: Op, host: str, now_ms: int) -> Verdict:
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
            hint = _NOTHING_THERE if status in (404, 410) else ""
            if 300 <= status < 400:
                hint = _redirected(answer)
        if not hint and tree is None and is_page(answer):
            hint = HTML_HINT
        wait = self._asked(answer, now_ms)
        return Verdict(
            kind, action, code_of(answer, tree), message_of(answer, tree, host), hint, wait, None, status
        )

    def _said_wait(self, wait: schema.Wait | None, answer: Answer, tree: Json, now_ms: int) -> float | None:
        """Seconds that the answer asks for where the rule says, else in a usual header, else the rule's own."""
        asked = None
        if wait is not None and wait.header is not None:
            asked = seconds_to_wait(answer.headers.get(wait.header), wait.format, now_ms)
        if asked is None and wait is not None and wait.path is not None:
            asked = seconds_to_wait(lookup(tree, wait.path), wait.format, now_ms)
        if asked is None:
            asked = self._asked(answer, now_ms)
        return wait.seconds if asked is None and wait is not None else asked

    def _asked(self, answer: Answer, now_ms: int) -> float | None:
        for name in self._retry_headers:
            value = answer.headers.get(name)
            if value is not None:
                return seconds_to_wait(value, "retry_after", now_ms)
        return None


def _looks_deeper(when: schema.When) -> bool:
    return bool(when.body or when.and_body or when.header)


def _counts_for(rule: schema.ErrorRule, op: Op, answer: Answer) -> bool:
    """Whether a rule is about such a call. A refused write is as good as done only where the manifest says so
    of writes; a page for people is none because of its status alone."""
    if rule.action == "ignore" and op == "write":
        return rule.when.op == "write" and (_looks_deeper(rule.when) or not is_page(answer))
    return rule.when.op in (None, op)


def _applies(when: schema.When, answer: Answer, document: Document) -> bool:
    if when.status is None and not _looks_deeper(when):
        return False
    if when.status is not None and not when.status.matches(answer.status):
        return False
    if when.status is None and not (when.body or when.and_body) and answer.status < 400:
        return False
    if when.header is not None and not header_holds(when.header, answer.headers):
        return False
    tests = (when.body, when.and_body)
    return all(test is None or body_holds(test, document.tree) for test in tests)


def _said_code(wanted: schema.CodeFrom, answer: Answer, tree: Json) -> str:
    """The code where the rule says, cut out of a longer text; '' without one."""
    value = lookup(tree, wanted.path) if wanted.path is not None else None
    if value is None and wanted.header is not None:
        value = answer.headers.get(wanted.header)
    text = words(value, 200)
    if wanted.after is not None and wanted.after in text:
        text = text.partition(wanted.after)[2]
    if wanted.before is not None:
        text = text.partition(wanted.before)[0]
    return text.strip()[:80]


def _with_detail(message: str, detail: schema.Detail | None, answer: Answer, tree: Json) -> str:
    if detail is None:
        return message
    value = lookup(tree, detail.path) if detail.path is not None else None
    if value is None and detail.header is not None:
        value = answer.headers.get(detail.header)
    said = words(value)
    return f"{message.rstrip('.')}. {detail.label} {said}." if said else message


def _redirected(answer: Answer) -> str:
    to = words(answer.headers.get("location", "").partition("?")[0], 120)
    leads = f"It redirects to {to}" if to else "It redirects"
    return f"{leads}: check the base URL, and whether the credential is accepted."


def _page(answer: Answer, host: str) -> Verdict:
    media = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    message = f"{host} answered with {media or 'markup'} where data is expected (a login page?)."
    hint = "Check the base URL and whether the credential is accepted."
    return Verdict(ErrorClass.SYSTEMIC, "fail_stream", NOT_JSON, message, hint, status=answer.status)


def _graphql(answer: Answer, errors: Json, tree: Json, op: Op, host: str) -> Verdict:
    """Errors that no rule knows: of a mutation they concern its row, of a query the stream."""
    said = words([lookup(item, "message") for item in errors] if isinstance(errors, list) else errors)
    record = op == "write"
    return Verdict(
        ErrorClass.RECORD if record else ErrorClass.SYSTEMIC,
        "dead_letter" if record else "fail_stream",
        code_of(answer, tree),
        f"{host} answered {answer.status}: {said or 'errors without a message'}",
        status=answer.status,
    )
