"""Drivers without an engine: contexts, plans, rows and a telemetry that remembers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from platint_tui.core.jsontext import canonical_key
from platint_tui.core.model import Batch, Confirmed, Environment, Field, Profile, Row, TargetPlan
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.manifest.loader import load_text

_MANIFEST = """
manifest: 1
platform: {name}
name: {name}
version: 1.0.0
category: database
docs: https://example.org/
driver: {name}
profile: {{fields: [{{id: path}}, {{id: host}}]}}
auth: {{type: driver}}
errors: {{policy: {{attempts: 3, base: 20ms}}}}
check: [{{id: open, open: true}}]
discover: {{type: introspect}}
resources: {{'*': {{write: {{upsert: {{}}}}}}}}
tests: [{{name: x, kind: error, code: '23505', expect: {{class: record, action: dead_letter}}}}]
"""


class FreeLimiter:
    """Lets every call pass."""

    async def acquire(self, limit: str, count: int, period: float, burst: int, weight: int = 1) -> None: ...
    async def block(self, limit: str, seconds: float) -> None: ...


class Observed:
    """Remembers what drivers report."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bool]] = []

    def observe(self, operation: str, seconds: float, ok: bool) -> None:
        assert seconds >= 0
        self.calls.append((operation, ok))


class Tools:
    """Builders for plans, rows and batches."""

    def __init__(self) -> None:
        self.telemetry = Observed()

    def context(self, driver: str, fields: Mapping[str, str], **secrets: str) -> DriverContext:
        profile = Profile(
            "warehouse", driver, Environment.DEVELOPMENT, dict(fields), dict.fromkeys(secrets, "env:X")
        )
        connector = load_text(_MANIFEST.format(name=driver))
        values = {name: Secret(value) for name, value in secrets.items()}
        return DriverContext(connector, profile, values, FreeLimiter(), self.telemetry)

    @staticmethod
    def plan(*fields: Field, **changes: Any) -> TargetPlan:
        base: dict[str, Any] = {
            "sync": "sales",
            "stream": "charges",
            "target": "charges",
            "key": ("id",),
            "cursor": "updated_at",
            "epoch": 1,
            "run": "run_1",
        }
        return TargetPlan(fields=fields, **{**base, **changes})

    @staticmethod
    def row(value: Mapping[str, Any], raw: str | None = None, version: Any = None) -> Row:
        text = json.dumps(value, ensure_ascii=False, default=str) if raw is None else raw
        if version is None:
            version = value.get("updated_at")
        return Row(canonical_key([value.get("id") or text]), text, dict(value), version, "")

    def batch(self, values: Sequence[Mapping[str, Any] | Row], seq: int | None = None) -> Batch:
        rows = [value if isinstance(value, Row) else self.row(value) for value in values]
        return Batch(rows, None if seq is None else Confirmed(seq, {"v": 1, "at": seq}))


@pytest.fixture
def tools() -> Tools:
    return Tools()
