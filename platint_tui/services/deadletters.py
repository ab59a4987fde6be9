"""The inbox: look at dead letters, discard, bring in those that platforms keep themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from platint_tui.core.blame import blame, what_next, whose_fault
from platint_tui.core.errors import ConfigError, NotFound, PlatintError, StoreError
from platint_tui.core.events import Event
from platint_tui.core.model import (
    NATIVE,
    Attempt,
    DeadLetter,
    DeadQueue,
    Issue,
    Json,
)
from platint_tui.core.states import IssueState
from platint_tui.engine.fingerprint import normalise
from platint_tui.manifest.kinds import kind_of
from platint_tui.services.engine import call, refuse_read_only
from platint_tui.services.workspace import Workspace
from platint_tui.store.ports import DeadLetterFilter, SeenQueue

__all__ = ["DeadLetterFilter", "SeenQueue"]

_LONGEST = 600.0
"""Seconds: a broker may have many queues, each looked at in turn."""


@dataclass(frozen=True, slots=True)
class DeadLetterView:
    """A dead letter with its attempts, and the event that it came with where there is one that is still kept."""

    letter: DeadLetter
    attempts: tuple[Attempt, ...]
    event: Event | None = None


async def issues(workspace: Workspace, states: Sequence[IssueState] = (), text: str = "") -> list[Issue]:
    """Issues (dead letters by fingerprint), the most open ones first."""
    return list(await workspace.store.dead_letters.issues(states, text))


async def set_issue_state(
    workspace: Workspace,
    fingerprint: str,
    state: IssueState,
    *,
    until_ms: int | None = None,
    until_total: int | None = None,
) -> None:
    """Acknowledge, resolve, ignore or reopen an issue; one that is ignored opens again at `until_ms`, or when it
    has had `until_total` failures."""
    refuse_read_only(workspace, "change an issue")
    await workspace.store.dead_letters.set_issue_state(
        fingerprint, state, until_ms=until_ms, until_total=until_total
    )


async def issue(workspace: Workspace, beginning: str) -> Issue:
    """The issue whose fingerprint starts like this. Raises ConfigError for none or several."""
    found = [item for item in await issues(workspace) if beginning and item.fingerprint.startswith(beginning)]
    if len(found) != 1:
        raise ConfigError(
            f"{len(found) or 'No'} fingerprints start with '{beginning}'.", hint="`dead groups` shows them."
        )
    return found[0]


@dataclass(frozen=True, slots=True)
class IssueView:
    """An issue with how many records wait in it (counted to 100,000), and the issues of other streams or accounts
    that have the same cause."""

    issue: Issue
    keys: int
    alike: tuple[Issue, ...]


async def show_issue(workspace: Workspace, beginning: str) -> IssueView:
    """One issue with what it affects. Raises ConfigError."""
    found = await issue(workspace, beginning)
    others = [item for item in await issues(workspace) if item.fingerprint != found.fingerprint]
    alike = tuple(item for item in others if _cause(item) == _cause(found))
    return IssueView(found, await workspace.store.dead_letters.keys(found.fingerprint), alike)


def _cause(found: Issue) -> tuple[str, ...]:
    """Equal for issues that differ in their stream or integration alone."""
    return found.platform, found.error_class, found.code, found.field, normalise(found.message)


def issue_document(found: Issue) -> dict[str, Json]:
    """An issue as a JSON document, with whose fault it is and what is to be done."""
    native = not found.integration
    return {
        **asdict(found),
        "hours": list(found.hours),
        "blame": blame(found.error_class, found.code).value,
        "whose_fault": whose_fault(found.error_class, found.code, native=native),
        "next": what_next(found.error_class, found.code, found.hint, native=native),
    }


async def note_issue(workspace: Workspace, fingerprint: str, note: str) -> None:
    """Write a note to an issue, "" for none. Raises NotFound."""
    refuse_read_only(workspace, "change an issue")
    await workspace.store.dead_letters.note_issue(fingerprint, note)


async def numbers(workspace: Workspace, where: DeadLetterFilter) -> Sequence[int]:
    """The numbers of all dead letters that match, newest first."""
    return await workspace.store.dead_letters.numbers(where)


async def newest(workspace: Workspace, where: DeadLetterFilter, limit: int) -> Sequence[int]:
    """The first of `numbers`, at most `limit`, as far as they are among the latest: quick whatever there is."""
    return await workspace.store.dead_letters.newest(where, limit)


async def count(workspace: Workspace, where: DeadLetterFilter) -> int:
    """How many dead letters match."""
    return await workspace.store.dead_letters.count(where)


async def rows(workspace: Workspace, wanted: Sequence[int]) -> list[DeadLetter]:
    """The dead letters with these numbers, without payload."""
    return list(await workspace.store.dead_letters.rows(wanted))


async def show(workspace: Workspace, id_or_number: str) -> DeadLetterView:
    """One dead letter whole. Raises NotFound."""
    letter = await workspace.store.dead_letters.get(id_or_number)
    if letter is None:
        raise NotFound(
            f"There is no dead letter '{id_or_number}'.", hint="`platint-tui dead list` shows them."
        )
    attempts = tuple(await workspace.store.dead_letters.attempts(letter.id))
    return DeadLetterView(letter, attempts, await _event_of(workspace, letter))


async def _event_of(workspace: Workspace, letter: DeadLetter) -> Event | None:
    event = (letter.origin or {}).get("event") if letter.direction != NATIVE else None
    if not isinstance(event, str):
        return None
    try:
        return await workspace.store.events.get(event)
    except StoreError:
        return None  # the disk changed it, which `events show` says; the dead letter has its own copy


async def discard(workspace: Workspace, ids: Sequence[str]) -> int:
    """Mark dead letters as discarded (they stay until retention, and can be reopened); returns how many.

    Those that their platform keeps itself are left as they are: see `discard_native`.
    """
    refuse_read_only(workspace, "discard dead letters")
    native = set(await native_ids(workspace, ids))
    return await workspace.store.dead_letters.discard([item for item in ids if item not in native])


async def ids(workspace: Workspace, where: DeadLetterFilter) -> list[str]:
    """The ids of all dead letters that match, oldest first."""
    wanted = await workspace.store.dead_letters.numbers(where, newest_first=False)
    return list(await workspace.store.replays.ids(wanted))


async def native_ids(workspace: Workspace, ids: Sequence[str]) -> list[str]:
    """Those of these dead letters that their platform keeps in a queue of its own."""
    native = await workspace.store.dead_letters.numbers(DeadLetterFilter(direction=NATIVE))
    known = set(await workspace.store.replays.ids(native))
    return [item for item in ids if item in known]


async def environment_of(workspace: Workspace, profile: str) -> str:
    """The environment of a profile; production when it is gone, which asks for the most care."""
    found = await workspace.store.profiles.get(profile)
    return found.environment.value if found is not None else "production"


async def discard_native(workspace: Workspace, ids: Sequence[str]) -> tuple[int, dict[str, str]]:
    """Remove dead letters at their platform for good; how many, and what could not be removed and why."""
    result = await call(workspace, "discard_native", {"dead_letters": list(ids)}, timeout=_LONGEST)
    return int(result["discarded"]), dict(result["errors"])


@dataclass(frozen=True, slots=True)
class Pulled:
    """What looking at the dead-letter queues of one profile brought; `errors` by queue."""

    profile: str
    new: int
    queues: tuple[DeadQueue, ...]
    errors: Mapping[str, str]


async def holders(workspace: Workspace) -> list[str]:
    """The profiles whose platform keeps dead letters of its own."""
    found = []
    for profile in await workspace.store.profiles.list():
        try:
            driver = workspace.registry.get(profile.platform).driver
        except PlatintError:
            continue  # its manifest is gone or broken, which its own section says
        if kind_of(driver).dead_letters:
            found.append(profile.name)
    return found


async def pull(workspace: Workspace, profile: str) -> Pulled:
    """Bring the dead letters that a platform keeps itself into the inbox. Nothing is taken away there."""
    result = await call(workspace, "pull_dead", {"profile": profile}, timeout=_LONGEST)
    queues = [item.queue for item in await workspace.store.dead_letters.dead_queues(profile)]
    return Pulled(profile, int(result["new"]), tuple(queues), dict(result["errors"]))


async def dead_queues(workspace: Workspace) -> list[SeenQueue]:
    """The platforms' own dead-letter queues as they were last seen."""
    return list(await workspace.store.dead_letters.dead_queues())


async def reopen(workspace: Workspace, ids: Sequence[str]) -> int:
    """Undo a discard; returns how many are open again."""
    refuse_read_only(workspace, "reopen dead letters")
    return await workspace.store.dead_letters.reopen(ids)


def summary(letter: DeadLetter) -> dict[str, Json]:
    """A dead letter as a JSON document without its payload."""
    return {
        "id": letter.id,
        "number": letter.number,
        "integration": letter.integration,
        "stream": letter.stream,
        "platform": letter.platform,
        "profile": letter.profile,
        "run": letter.run,
        "record_key": letter.record_key,
        "state": letter.state.value,
        "bin": letter.bin,
        "class": letter.error_class.value,
        "code": letter.code,
        "field": letter.field,
        "message": letter.message,
        "hint": letter.hint,
        "fingerprint": letter.fingerprint,
        "parent": letter.parent,
        "direction": letter.direction,
        "operation": letter.op.value or "upsert",
        "origin": letter.origin,
        "integration_version": letter.integration_version,
        "manifest_version": letter.manifest_version,
        "occurrences": letter.occurrences,
        "attempts": letter.attempts,
        "first_seen_ms": letter.first_seen_ms,
        "last_seen_ms": letter.last_seen_ms,
        "size": letter.size,
    }
