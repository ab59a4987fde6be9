"""The question before a run that writes into production, or deletes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from platint_tui.tui.dialogs.confirm import Confirmation, needs_name

if TYPE_CHECKING:
    from platint_tui.core.model import Integration
    from platint_tui.services.workspace import Workspace


async def run_question(
    workspace: Workspace, made: Integration, streams: Sequence[str], name: str
) -> Confirmation | None:
    """What a person is to agree to before these streams (all without any) are run; None when nothing is asked.

    `name` says what is run. Raises NotFound when the target's profile is gone.
    """
    from platint_tui.services import syncs

    writes = await syncs.writes_of(workspace, made, streams)
    target = writes.target
    if not needs_name(environment=target.environment.value, deletes=bool(writes.deleting)):
        return None
    lines = ["What is written there is not taken back."]
    if writes.deleting:
        lines = [
            f"Every record that {', '.join(writes.deleting)} reads is deleted there, and not taken back."
        ]
    return Confirmation(
        title=f"Run {name} into production" if writes.production else f"Run {name}: it deletes",
        verb="Run",
        lines=tuple(lines),
        host=", ".join(target.origins) or target.fields.get("path", target.platform),
        method=writes.words,
        count=len(streams) or len(made.streams),
        noun="stream",
        typed=target.name,
    )
