"""Running the tests that manifests ship."""

from __future__ import annotations

from dataclasses import dataclass

from platint_tui.manifest.registry import Registry


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """One test of one manifest; no failures means that it passed."""

    platform: str
    test: str
    failures: tuple[str, ...]


async def run_tests(registry: Registry, platform: str) -> list[TestOutcome]:
    """Every test of the manifest of `platform`, offline. Raises NotFound and ConfigError."""
    from platint_tui.drivers.http.replay import run_vector
    from platint_tui.manifest.vectors import check_code, vector_of
    from platint_tui.manifest.webhook_vectors import hook_of

    connector = registry.get(platform)
    outcomes = []
    for test in connector.tests:
        if test.kind == "webhook":
            from platint_tui.drivers.http.webhooks.recorded import run_hook

            found = run_hook(connector, test, hook_of(test, registry.vectors(platform)))
            outcomes.append(TestOutcome(platform, test.name, found))
            continue
        vector = vector_of(test, registry.vectors(platform))
        if vector is not None:
            failures = (await run_vector(connector, test, vector)).failures
        else:
            failures = check_code(connector, test)
        outcomes.append(TestOutcome(platform, test.name, tuple(failures)))
    return outcomes
