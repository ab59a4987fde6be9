"""What the types cannot say of limits: names that must exist, and parts that belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from platint_tui.manifest.findings import Findings
from platint_tui.manifest.loader import family_of
from platint_tui.manifest.problems import did_you_mean, shown
from platint_tui.manifest.yamltext import PathKey

if TYPE_CHECKING:
    from platint_tui.manifest.schema import Connector, Limit


def check_limits(found: Findings, connector: Connector) -> None:
    """Ids, matches and parts of every limit: one that never matches, or says nothing, limits nothing."""
    seen: set[str] = set()
    for number, limit in enumerate(connector.limits):
        path: PathKey = ("limits", number)
        if limit.id in seen:
            found.add(
                (*path, "id"), f"there are two limits called '{limit.id}', which would share one budget"
            )
        seen.add(limit.id)
        _match(found, path, limit, connector)
        _parts(found, path, limit)


def _match(found: Findings, path: PathKey, limit: Limit, connector: Connector) -> None:
    for place, name in enumerate(limit.match.resources):
        if name not in connector.resources and family_of(connector, name) not in connector.resources:
            suggestion = did_you_mean(name, connector.resources)
            found.add((*path, "match", "resources", place), f"there is no resource {shown(name)}{suggestion}")
    endpoint = limit.match.endpoint
    endpoints = connector.transport.endpoints
    if endpoint is not None and endpoint not in endpoints:
        suggestion = did_you_mean(endpoint, endpoints)
        found.add((*path, "match", "endpoint"), f"there is no endpoint {shown(endpoint)}{suggestion}")


def _parts(found: Findings, path: PathKey, limit: Limit) -> None:
    headers, body = limit.headers, limit.body
    if limit.burst is not None and limit.rate is None:
        found.add((*path, "burst"), "needs a rate")
    if headers.reset is not None and headers.remaining is None and headers.usage is None:
        found.add((*path, "headers", "reset"), "needs `remaining` or `usage`, which say when it counts")
    if body is not None and (headers.remaining or headers.usage):
        found.add((*path, "body"), "goes without `remaining` and `usage`: give each a limit of its own")
    if body is not None and body.restore_rate is not None and body.per_second is not None:
        found.add((*path, "body", "per_second"), "goes without restore_rate")
