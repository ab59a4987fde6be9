"""What a manifest says although no description has it: `allowed/<platform>.yaml`, a list of

- entry: resources.issues.read.request.query.since     # as the look-up names it; `*` stands for anything
  value: since                                          # what is looked up, exactly; `values` for several
  reason: why the description does not know it
  source: where it is known from

or of what a description forgot of a whole operation; it is looked up and served by the mock as if it were described:

- operation: GET /account-info/v3/details               # one that is described is added to
  query: {limit: {type: integer}}                       # schemas of parameters; `headers` and `body` alike
  answer: {type: object, properties: {id: {}}}          # `{$described: true}` stands for what is described
  reason: …
  source: …
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import yaml
from contract.looked import Lookup
from contract.manifests import HERE


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of an allow-list."""

    entry: str
    value: str
    reason: str
    source: str

    def covers(self, lookup: Lookup) -> bool:
        """Whether it allows a look-up that found nothing."""
        return self.value == lookup.value and fnmatchcase(lookup.entry, self.entry.replace("[", "[[]"))


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What a description forgot of an operation, as schemas."""

    operation: str
    query: Mapping[str, Any]
    headers: Mapping[str, Any]
    body: Mapping[str, Any] | None
    answer: Mapping[str, Any] | None
    reason: str
    source: str


def _entries(platform: str) -> list[dict[str, Any]]:
    path = HERE / "allowed" / f"{platform}.yaml"
    return (yaml.safe_load(path.read_text()) or []) if path.is_file() else []


def allowed(platform: str) -> list[Rule]:
    """The allow-list of a platform; empty without a file."""
    return [
        Rule(str(item["entry"]), str(value), str(item["reason"]), str(item["source"]))
        for item in _entries(platform)
        if "entry" in item
        for value in item.get("values", [item.get("value", "")])
    ]


def forgotten(platform: str) -> list[Forgotten]:
    """What the descriptions of a platform forgot."""
    return [
        Forgotten(
            item["operation"],
            item.get("query", {}),
            item.get("headers", {}),
            item.get("body"),
            item.get("answer"),
            str(item["reason"]),
            str(item["source"]),
        )
        for item in _entries(platform)
        if "operation" in item
    ]


def matched(rules: Iterable[Rule], lookup: Lookup) -> bool:
    """Whether one of the rules allows it."""
    return any(rule.covers(lookup) for rule in rules)
