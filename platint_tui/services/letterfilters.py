"""The filter of the inbox as a person types it: `stream:charges code:invalid_email since:2h "free text"`."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from platint_tui.core.errors import ConfigError, ErrorClass, UsageError
from platint_tui.core.filtertext import LETTER_NAMES, FilterText, moment_of, parse_filter
from platint_tui.core.states import DeadLetterState
from platint_tui.services.workspace import Workspace
from platint_tui.store.ports import DeadLetterFilter

ANY = "any"
"""As a state: all of them."""
BINS = ("record", "systemic")
DIRECTIONS = ("record", "event", "native")
_PLAIN = ("platform", "profile", "integration", "stream", "run", "code", "field", "key", "fingerprint")
FILTER_NAMES = LETTER_NAMES


def letter_filter(
    text: str, now_ms: int, states: tuple[DeadLetterState, ...] = (DeadLetterState.OPEN,)
) -> DeadLetterFilter:
    """What `text` means at `now_ms`; without `state:` the dead letters in `states`. Raises UsageError."""
    return filter_of(parse_filter(text, FILTER_NAMES), now_ms, states)


def filter_of(
    read: FilterText, now_ms: int, states: tuple[DeadLetterState, ...] = (DeadLetterState.OPEN,)
) -> DeadLetterFilter:
    """A filter that was read, as the store takes it. Raises UsageError with the value that is wrong."""
    wanted = read.values.get("state", ())
    if wanted:
        states = () if ANY in wanted else tuple(_state(value) for value in wanted)
    since, until = (read.one(name) for name in ("since", "until"))
    return DeadLetterFilter(
        **{name: read.one(name) for name in _PLAIN},
        error_class=_choice(read.one("class"), tuple(ErrorClass), "class"),
        bin=_choice(read.one("bin"), BINS, "bin"),
        direction=_choice(read.one("direction"), DIRECTIONS, "direction"),
        states=states,
        since_ms=moment_of(since, now_ms) if since else None,
        until_ms=moment_of(until, now_ms, "until") if until else None,
        text=read.text,
    )


def _state(value: str) -> DeadLetterState:
    _choice(value, (*DeadLetterState, ANY), "state")
    return DeadLetterState(value)


def _choice(value: str, known: Collection[str], name: str) -> str:
    """One of the known values, or "". Raises UsageError with what was meant."""
    if not value or value in known:
        return value
    near = difflib.get_close_matches(value, [str(item) for item in known], 1)
    meant = f"Did you mean {near[0]}? " if near else ""
    what = f"'{value}' is no {name} of a dead letter."
    raise UsageError(what, hint=f"{meant}One of {', '.join(known)}.")


async def whole_fingerprint(workspace: Workspace, beginning: str) -> str:
    """The one fingerprint that starts like this, "" for "". Raises ConfigError for none or several."""
    if not beginning:
        return ""
    known = [issue.fingerprint for issue in await workspace.store.dead_letters.issues()]
    matches = [item for item in known if item.startswith(beginning)]
    if len(matches) != 1:
        raise ConfigError(
            f"{len(matches) or 'No'} fingerprints start with '{beginning}'.", hint="`dead groups` shows them."
        )
    return matches[0]
