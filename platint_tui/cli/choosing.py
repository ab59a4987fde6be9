"""Which dead letters the options of a command mean: --filter and those that say the same in words of their own."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace

from platint_tui.core.filtertext import parse_filter
from platint_tui.core.states import DeadLetterState
from platint_tui.services.letterfilters import FILTER_NAMES, filter_of, whole_fingerprint
from platint_tui.services.workspace import Workspace
from platint_tui.store.ports import DeadLetterFilter

_OPTIONS = ("fingerprint", "integration", "stream", "platform", "run")


async def chosen(
    options: Namespace,
    workspace: Workspace,
    states: tuple[DeadLetterState, ...] = (DeadLetterState.OPEN,),
) -> DeadLetterFilter:
    """The dead letters that --filter and the other options mean, those in `states` where none is said.

    Raises UsageError, ConfigError for a fingerprint that is not there.
    """
    read = parse_filter(options.filter, FILTER_NAMES)
    for name in _OPTIONS:
        read = read.plus(name, getattr(options, name, ""))
    read = read.plus("state", *getattr(options, "state", ()))
    where = filter_of(read, workspace.clock.now_ms(), states)
    text = " ".join(part for part in (where.text, getattr(options, "text", "")) if part)
    return replace(where, text=text, fingerprint=await whole_fingerprint(workspace, where.fingerprint))
