"""What a manifest says although no description has it: `allowed/<platform>.yaml`, a list of

- entry: resources.issues.read.request.query.since     # as the look-up names it; `*` stands for anything
  value: since                                          # what is looked up, exactly
  reason: why the description does not know it
  source: where it is known from
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

import yaml
from contract.lookups import Lookup
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


def allowed(platform: str) -> list[Rule]:
    """The allow-list of a platform; empty without a file."""
    path = HERE / "allowed" / f"{platform}.yaml"
    if not path.is_file():
        return []
    rules = []
    for item in yaml.safe_load(path.read_text()) or ():
        rule = Rule(**{name: str(item[name]) for name in ("entry", "value", "reason", "source")})
        rules.append(rule)
    return rules


def matched(rules: Iterable[Rule], lookup: Lookup) -> bool:
    """Whether one of the rules allows it."""
    return any(rule.covers(lookup) for rule in rules)
