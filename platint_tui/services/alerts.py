"""Alerts: what asks for somebody's attention, until somebody has seen it."""

from __future__ import annotations

from platint_tui.core.events import Alert
from platint_tui.services.engine import refuse_read_only
from platint_tui.services.workspace import Workspace


async def list_alerts(workspace: Workspace, *, acknowledged: bool = False, limit: int = 100) -> list[Alert]:
    """Alerts, newest first; those that somebody has seen too when `acknowledged`."""
    return list(await workspace.store.alerts.list(acknowledged=acknowledged, limit=limit))


async def acknowledge(workspace: Workspace, number: int) -> None:
    """Somebody has seen it: what comes after is a new alert. Raises NotFound."""
    refuse_read_only(workspace, "acknowledge an alert")
    await workspace.store.alerts.acknowledge(number)
