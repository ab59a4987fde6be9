"""Which dead letters a command means: by their ids, by a fingerprint, or by a filter that is resolved now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from platint_tui.core.errors import UsageError
from platint_tui.core.model import JsonObject
from platint_tui.core.replays import ReplayOptions, options_of
from platint_tui.core.states import DeadLetterState
from platint_tui.engine.context import Context
from platint_tui.store.ports import DeadLetterFilter

MOST = 100_000
"""Dead letters of one job or one simulation."""


async def chosen_ids(context: Context, args: JsonObject) -> list[str]:
    """The ids that `dead_letters`, `fingerprint` (its open ones) or `where` mean, oldest first where a filter says
    so. `up_to` leaves out what a filter finds with a higher number. Raises UsageError for more than a job may have."""
    ids = list(args.get("dead_letters") or [])
    if not all(isinstance(item, str) for item in ids):
        raise UsageError("'dead_letters' is to be a list of texts.")
    if args.get("fingerprint"):
        ids += await _matching(
            context,
            DeadLetterFilter(fingerprint=str(args["fingerprint"]), states=(DeadLetterState.OPEN,)),
        )
    if args.get("where"):
        ids += await _matching(context, filter_of(args["where"]), args.get("up_to"))
    if len(ids) > MOST:
        raise UsageError(
            f"These are {len(ids):,} dead letters; a replay has at most {MOST:,}.",
            hint="Narrow the filter, by stream or by cause.",
        )
    return ids


async def _matching(context: Context, where: DeadLetterFilter, up_to: int | None = None) -> Sequence[str]:
    numbers = await context.store.dead_letters.numbers(where, newest_first=False)
    if up_to is not None:
        numbers = [number for number in numbers if number <= up_to]
    if len(numbers) > MOST:
        raise UsageError(
            f"These are {len(numbers):,} dead letters; a replay has at most {MOST:,}.",
            hint="Narrow the filter, by stream or by cause.",
        )
    return await context.store.replays.ids(numbers)


def filter_of(document: JsonObject) -> DeadLetterFilter:
    """A filter from its plain form (`dataclasses.asdict`). Raises UsageError."""
    known = {item.name for item in fields(DeadLetterFilter)}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in document.items()
        if name in known
    }
    try:
        values["states"] = tuple(DeadLetterState(item) for item in values.get("states", ()))
        return DeadLetterFilter(**values)
    except (TypeError, ValueError) as error:
        raise UsageError(f"This is no filter of dead letters: {error}.") from None


def options_from(args: JsonObject, usual: ReplayOptions) -> ReplayOptions:
    """The options of a command, `usual` without any. Raises UsageError."""
    document = args.get("options")
    if document is None:
        return usual
    try:
        return options_of(document)
    except (TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"These are no options of a replay: {error}.") from None
