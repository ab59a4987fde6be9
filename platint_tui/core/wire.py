"""The exact requests of a piece of work, as they may be shown: taken down while a `watching` block runs.

Whatever could be a credential is masked before it is kept: by the names of headers, query parameters, form
fields and members of a JSON body, and by value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from urllib.parse import unquote_plus, urlsplit, urlunsplit

from platint_tui.core.model import Json
from platint_tui.core.redaction import MASK, REDACTOR, SENSITIVE_NAME

MOST_BODY = 16 * 1024
"""Characters of a body that are kept."""
MOST = 200
"""Requests that are kept."""
_PAGING = re.compile(
    r"(page|next|continuation|cursor|start|starting|sync|marker|result|skip|scroll|after|before|offset)s?"
    r"[-_.]?tokens?$",
    re.I,
)
_ALSO = re.compile(
    r"^(sig|key|auth|code|code_verifier|assertion|client_assertion|jwt|session|sid|pwd)$|crumb", re.I
)


def names_credential(name: str) -> bool:
    """Whether a header or parameter called `name` holds a credential: a token for paging is none."""
    return bool(SENSITIVE_NAME.search(name) and not _PAGING.search(name))


def shows_credential(name: str) -> bool:
    """Whether what stands under `name` may be one, so that it is not shown. Wider than `names_credential`."""
    return bool(_ALSO.search(name) or names_credential(name))


@dataclass(frozen=True, slots=True)
class Exchanged:
    """One request as it was sent, secrets masked; `status` is None when no answer came, `error` says why."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: str | None
    status: int | None
    ms: float
    error: str = ""


@dataclass
class Watch:
    """What was sent so far. `private` are further names (lower case) that hold a credential."""

    private: frozenset[str] = frozenset()
    seen: list[Exchanged] = field(default_factory=list)

    def note(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | None,
        *,
        status: int | None,
        ms: float,
        error: str = "",
    ) -> None:
        """Take down one request."""
        if len(self.seen) < MOST:
            body = None if content is None else self._body(content, headers)
            safe = {name: self._value(name, value) for name, value in headers.items()}
            self.seen.append(
                Exchanged(method, self._url(url), safe, body, status, round(ms, 1), REDACTOR.redact(error))
            )

    def _secret(self, name: str) -> bool:
        return name.lower() in self.private or shows_credential(name)

    def _value(self, name: str, value: str) -> str:
        return MASK if self._secret(name) else REDACTOR.redact(value)

    def _url(self, url: str) -> str:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        safe = urlunsplit((parts.scheme, host, parts.path, self._pairs(parts.query), ""))
        return REDACTOR.redact(safe)

    def _pairs(self, text: str) -> str:
        """`a=1&token=x` with the values of sensitive names masked, everything else as it was sent."""
        pairs = []
        for pair in text.split("&") if text else ():
            name, mark, value = pair.partition("=")
            plain = unquote_plus(name)
            pairs.append(f"{name}{mark}{MASK if value and self._secret(plain) else value}")
        return "&".join(pairs)

    def _body(self, content: bytes, headers: Mapping[str, str]) -> str:
        kind = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
        text = content[: 8 * MOST_BODY].decode("utf-8", "replace")
        if "x-www-form-urlencoded" in kind:
            text = self._pairs(text)
        elif "json" in kind:
            try:
                document = json.loads(content)
            except (ValueError, RecursionError):
                pass
            else:
                if self._holds(document):
                    text = json.dumps(self._masked(document), ensure_ascii=False, separators=(",", ":"))
        text = REDACTOR.redact(text)
        return text if len(text) <= MOST_BODY else f"{text[:MOST_BODY]}… ({len(content):,} bytes)"

    def _holds(self, value: Json, depth: int = 0) -> bool:
        if isinstance(value, dict):
            return depth < 32 and any(
                self._secret(name) or self._holds(item, depth + 1) for name, item in value.items()
            )
        return isinstance(value, list) and depth < 32 and any(self._holds(item, depth + 1) for item in value)

    def _masked(self, value: Json, depth: int = 0) -> Json:
        if isinstance(value, dict) and depth < 32:
            return {
                name: MASK
                if self._secret(name) and not isinstance(item, dict | list) and item is not None
                else self._masked(item, depth + 1)
                for name, item in value.items()
            }
        if isinstance(value, list) and depth < 32:
            return [self._masked(item, depth + 1) for item in value]
        return value


_WATCH: ContextVar[Watch | None] = ContextVar("watch", default=None)


@contextmanager
def watching(private: Iterable[str] = ()) -> Iterator[Watch]:
    """Take down every request that is sent in this block and in the tasks that it starts."""
    watch = Watch(frozenset(name.lower() for name in private))
    token = _WATCH.set(watch)
    try:
        yield watch
    finally:
        _WATCH.reset(token)


def present_watch() -> Watch | None:
    """Who takes down requests here, None when nobody does."""
    return _WATCH.get()


@dataclass
class Tally:
    """How many requests were sent."""

    requests: int = 0

    def take(self) -> int:
        """The requests since the last call."""
        count, self.requests = self.requests, 0
        return count


_TALLY: ContextVar[Tally | None] = ContextVar("tally", default=None)


@contextmanager
def tallying() -> Iterator[Tally]:
    """Count the requests to platforms that this block and the tasks that it starts send, repeated ones too."""
    tally = Tally()
    token = _TALLY.set(tally)
    try:
        yield tally
    finally:
        _TALLY.reset(token)


def count_request() -> None:
    """A request is sent."""
    tally = _TALLY.get()
    if tally is not None:
        tally.requests += 1
