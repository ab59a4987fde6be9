"""Fix rules: corrections that are kept for what fails alike."""

from __future__ import annotations

from dataclasses import dataclass

from platint_tui.core.patch import Patch


@dataclass(frozen=True, slots=True)
class FixRule:
    """A correction that an operator keeps for the dead letters of one fingerprint: it is offered when the
    fingerprint comes back, and applied only at an operator's word. `made_from` is the edit that it was made of."""

    id: str
    number: int
    fingerprint: str
    patch: Patch
    note: str
    made_from: str | None
    operator: str
    created_ms: int
    revoked_ms: int | None

    def words(self) -> str:
        """Its steps in one line."""
        return "; ".join(step.words() for step in self.patch)


@dataclass(frozen=True, slots=True)
class RuleEdit:
    """What a rule made of one dead letter."""

    dead_letter: str
    payload: bytes
    record_key: str
    content_hash: str
