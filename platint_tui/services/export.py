"""Dead letters and events as text for others: JSON lines, a table, or requests that a person can send by hand.

However many they are, only a few are in memory at a time. What cannot be written in a form is told, never dropped
in silence.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from platint_tui.core import exports
from platint_tui.core.errors import ConfigError, PlatintError, StoreError
from platint_tui.core.events import Event, Rejection
from platint_tui.core.exports import NO_CREDENTIAL, Credential, variable
from platint_tui.core.model import DeadLetter, Json, JsonObject
from platint_tui.manifest.signin import chosen_auth
from platint_tui.services import deadletters, events
from platint_tui.services.workspace import Workspace
from platint_tui.store.ports import DeadLetterFilter, DeliveryFilter

_ROWS = 200
_BYTES = 8 * 1024 * 1024
"""Rows, and bytes of payloads, that are in memory at a time."""
_EVENTS = 20
"""Events in memory at a time: each may have a body of a megabyte."""


class Form(StrEnum):
    """jsonl: everything, payloads byte by byte. csv: a table that no spreadsheet runs. curl: a shell script. http:
    a file of requests for an editor."""

    JSONL = "jsonl"
    CSV = "csv"
    CURL = "curl"
    HTTP = "http"


@dataclass(slots=True)
class Exported:
    """What came of an export: how many are written, and why others are not."""

    written: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


_LETTER_COLUMNS = (
    *("number", "id", "state", "direction", "integration", "stream", "platform", "profile", "run"),
    *(
        "record_key",
        "operation",
        "bin",
        "class",
        "code",
        "field",
        "message",
        "hint",
        "occurrences",
        "attempts",
    ),
    *("first_seen", "last_seen", "fingerprint", "size", "payload", "encoding"),
)
_EVENT_COLUMNS = (
    *("number", "id", "profile", "platform", "event_id", "type", "order_key", "state", "origin", "occurred"),
    *("received", "seen", "verified_by", "method", "target", "size", "body", "encoding"),
)


async def letters(
    workspace: Workspace, where: DeadLetterFilter, form: Form, told: Exported
) -> AsyncIterator[str]:
    """The dead letters that match, oldest first, as texts of one or several lines without the last line's end.

    `told` is counted up. Raises StoreError.
    """
    if form is Form.CSV:
        yield exports.csv_line(_LETTER_COLUMNS)
    requests = _Requests(workspace, form, told)
    async for letter in _whole_letters(workspace, where, told):
        if form is Form.JSONL:
            told.written += 1
            facts: JsonObject = {**deadletters.summary(letter), "request": letter.request}
            yield exports.json_line({**facts, "response": letter.response}, letter.payload)
        elif form is Form.CSV:
            told.written += 1
            yield _row(_LETTER_COLUMNS, deadletters.summary(letter), letter.payload, "payload")
        else:
            title = f"dead letter {letter.number}, {letter.place} {letter.record_key}: {letter.code}"
            yield await requests.text(
                title, letter.request, letter.platform, letter.profile, why=_unsendable_letter(letter)
            )


async def event_texts(
    workspace: Workspace, ids: Sequence[str], form: Form, told: Exported
) -> AsyncIterator[str]:
    """These events in that order, like `letters`. Requests go to the receiver of this installation."""
    if form is Form.CSV:
        yield exports.csv_line(_EVENT_COLUMNS)
    base = await events.receiver_url(workspace)
    requests = _Requests(workspace, form, told)
    async for event in _whole_events(workspace, ids, told):
        if form is Form.JSONL:
            told.written += 1
            sent = await events.deliveries(workspace, DeliveryFilter(event=event.id), 1_000)
            facts = {**events.summary(event), "deliveries": [asdict(item) for item in sent]}
            yield exports.json_line(facts, event.body)
        elif form is Form.CSV:
            told.written += 1
            yield _row(_EVENT_COLUMNS, events.summary(event), event.body, "body")
        else:
            title = f"event {event.number}, {event.profile}: {event.event_id} {event.type}"
            yield await requests.text(title, event_request(event, base))


def event_request(event: Event | Rejection, base: str) -> dict[str, Any]:
    """The request that brought an event, as it came, to the receiver at `base`."""
    return {
        "method": event.method,
        "url": f"{base.rstrip('/')}{event.target}",
        "headers": [list(pair) for pair in event.headers],
        "body": event.body,
    }


def _request_text(request: Mapping[str, Json], form: Form, signed: Credential) -> str:
    if form is Form.CURL:
        return exports.as_curl(request, signed)
    return exports.as_http(request, signed).rstrip("\n")


async def curl_of(workspace: Workspace, letter: DeadLetter) -> str:
    """The request of a dead letter as a line for a shell, its secrets variables. Raises ConfigError without one."""
    why = _unsendable_letter(letter)
    if why or letter.request is None:
        raise ConfigError(f"There is nothing to send: {why}")
    return exports.as_curl(letter.request, await credential(workspace, letter.platform, letter.profile))


async def credential(workspace: Workspace, platform: str, profile: str) -> Credential:
    """How a request to this account is signed by hand, with the profile's fields as variables."""
    try:
        connector = workspace.registry.get(platform)
        found = await workspace.store.profiles.get(profile)
        if found is None:
            return Credential(note=f"The profile '{profile}' is gone: add the credential by hand.")
        filled = frozenset({*found.fields, *found.secrets})
        auth = chosen_auth(connector.auth, filled, found.fields)
    except PlatintError as error:
        return Credential(note=error.sentence())
    if auth.type == "bearer":
        return Credential(headers=(("Authorization", "Bearer ", variable(auth.secret)),))
    if auth.type == "basic":
        return Credential(basic=(variable(auth.username), variable(auth.password or "password")))
    if auth.type == "api_key" and auth.in_ == "header":
        return Credential(headers=((auth.name, auth.prefix, variable(auth.secret)),))
    if auth.type == "api_key":
        return Credential(query=((auth.name, variable(auth.secret)),))
    if auth.type in ("oauth2", "jwt_exchange"):
        return Credential(
            headers=((auth.header, auth.prefix, "ACCESS_TOKEN"),),
            note=f"ACCESS_TOKEN is a token that '{profile}' was given by {platform}.",
        )
    if auth.type in ("none", "driver"):
        return NO_CREDENTIAL
    return Credential(note=f"{platform} wants a signature ({auth.type}) that is to be added by hand.")


class _Requests:
    """Requests one after the other in a script or an HTTP file, each under a line that says what it is."""

    def __init__(self, workspace: Workspace, form: Form, told: Exported) -> None:
        self._workspace = workspace
        self._form = form
        self._told = told
        self._credentials: dict[tuple[str, str], Credential] = {}
        self._said: set[str] = set()

    async def text(
        self,
        title: str,
        request: Mapping[str, Json] | None,
        platform: str = "",
        profile: str = "",
        *,
        why: str = "",
    ) -> str:
        """One request with its title; a comment alone where there is none to send, or `why` says against it."""
        head = [exports.comment(title)]
        if self._form is Form.HTTP:
            head.insert(0, "###")
        why = why or _unsendable(request)
        if why or request is None:
            return "\n".join([*head, self._without(why)])
        found = await self._credential(platform, profile)
        try:
            text = _request_text(request, self._form, found)
        except ConfigError as error:
            return "\n".join([*head, self._without(error.sentence())])
        self._told.written += 1
        wanted = [name for name in exports.variables(request, found) if name not in self._said]
        self._said.update(wanted)
        head += [exports.comment(f"Set {name} first.") for name in wanted]
        if found.note and found.note not in self._said:
            self._said.add(found.note)
            head.append(exports.comment(found.note))
        return "\n".join([*head, text])

    def _without(self, why: str) -> str:
        self._told.left_out[why] += 1
        return exports.comment(f"Left out: {why}")

    async def _credential(self, platform: str, profile: str) -> Credential:
        if not platform:
            return NO_CREDENTIAL
        key = (platform, profile)
        if key not in self._credentials:
            self._credentials[key] = await credential(self._workspace, platform, profile)
        return self._credentials[key]


def _unsendable_letter(letter: DeadLetter) -> str:
    """Why the request of a dead letter is not what would be sent for it, "" when it is."""
    if letter.parent is not None and letter.request:
        return "it was edited since; the request that is kept is the one before, with the old body."
    return _unsendable(letter.request)


def _unsendable(request: Mapping[str, Json] | None) -> str:
    """Why a stored request cannot be sent as it stands, "" when it can."""
    if not request or not request.get("url"):
        return "no request is kept of it, because none was sent or its target takes none."
    if request.get("cut"):
        return "its body was too long to be kept whole; the record itself is in the export as jsonl."
    return ""


def _row(columns: Sequence[str], facts: Mapping[str, Json], payload: bytes, name: str) -> str:
    exact = exports.exact(payload)
    cells: dict[str, Json] = {**facts, name: exact["payload"], "encoding": exact.get("encoding", "")}
    for column in ("first_seen", "last_seen", "occurred", "received"):
        cells[column] = _moment(facts.get(f"{column}_ms"))
    return exports.csv_line([cells.get(column) for column in columns])


def _moment(milliseconds: Json) -> str:
    """A UTC moment as ISO 8601, "" for none."""
    if not isinstance(milliseconds, int):
        return ""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


async def _whole_letters(
    workspace: Workspace, where: DeadLetterFilter, told: Exported
) -> AsyncIterator[DeadLetter]:
    store = workspace.store
    wanted = await store.dead_letters.numbers(where, newest_first=False)
    for start in range(0, len(wanted), _ROWS):
        rows = await store.dead_letters.rows(wanted[start : start + _ROWS])
        for some in _bounded(rows):
            found = {letter.id: letter for letter in await store.replays.whole([item.id for item in some])}
            for row in some:
                if row.id in found:
                    yield found[row.id]
                else:
                    await _say_missing(workspace, row, told)


async def _say_missing(workspace: Workspace, row: DeadLetter, told: Exported) -> None:
    """One that retention took meanwhile is nothing to tell; one that is damaged is."""
    try:
        await workspace.store.dead_letters.get(row.id)
    except StoreError as error:
        told.left_out[error.sentence()] += 1


async def _whole_events(workspace: Workspace, ids: Sequence[str], told: Exported) -> AsyncIterator[Event]:
    for start in range(0, len(ids), _EVENTS):
        for event in await workspace.store.deliveries.whole(ids[start : start + _EVENTS]):
            if event.intact:
                yield event
            else:
                told.left_out[f"Event {event.number} is not what was stored: the disk changed it."] += 1


def _bounded(rows: Sequence[DeadLetter]) -> Iterator[list[DeadLetter]]:
    """`rows` in groups whose payloads fit into memory together."""
    group: list[DeadLetter] = []
    size = 0
    for row in rows:
        if group and size + row.size > _BYTES:
            yield group
            group, size = [], 0
        group.append(row)
        size += row.size
    if group:
        yield group


async def write_new(
    path: Path, texts: AsyncIterator[str], progress: Callable[[int], None] | None = None
) -> int:
    """Write texts, a line's end after each, into a new file that only its owner reads; returns how many.

    A file or a link that is there is never written to; one that could not be finished is taken away. Raises
    ConfigError.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        handle = os.open(path, flags, 0o600)
    except OSError as error:
        raise ConfigError(
            f"Cannot write {path}: {error.strerror}.", hint="Name a file that is not there yet."
        ) from None
    written = 0
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogatepass", newline="\n") as file:
            async for text in texts:
                file.write(text + "\n")
                written += 1
                if progress is not None:
                    progress(written)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        _remove(path)
        raise ConfigError(f"{path} could not be written whole: {error.strerror}; it was removed.") from None
    except BaseException:
        _remove(path)
        raise
    return written


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
