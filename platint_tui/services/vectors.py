"""Running the tests that manifests ship."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from platint_tui.manifest.registry import Registry

if TYPE_CHECKING:
    from platint_tui.manifest.schema import Connector, TestCase


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """One test of one manifest; no failures means that it passed."""

    platform: str
    test: str
    failures: tuple[str, ...]


async def run_tests(registry: Registry, platform: str) -> list[TestOutcome]:
    """Every test of the manifest of `platform`, offline. Raises NotFound and ConfigError."""
    from platint_tui.drivers.http.replay import run_vector
    from platint_tui.manifest.vectors import vector_of

    connector = registry.get(platform)
    outcomes = []
    for test in connector.tests:
        vector = vector_of(test, registry.vectors(platform))
        if connector.driver == "http":
            failures = (await run_vector(connector, test, vector)).failures
        else:
            failures = _judge_code(connector, test)
        outcomes.append(TestOutcome(platform, test.name, tuple(failures)))
    return outcomes


def _judge_code(connector: Connector, test: TestCase) -> tuple[str, ...]:
    """Compare what the error rules say of a native code with what the test expects."""
    from platint_tui.drivers.codes import rule_of

    if not test.code:
        return ("it names no code",)
    rule = rule_of(connector.errors.rules, test.code)
    if rule is None:
        return (f"no rule names the code {test.code}",)
    wanted = {"class": test.expect.class_, "action": test.expect.action}
    got = {"class": rule.class_, "action": rule.action}
    return tuple(
        f"{name} {wanted[name]} is expected, the rules say {got[name]}"
        for name in wanted
        if wanted[name] is not None and wanted[name] != got[name]
    )
