"""What a manifest says of a native error code decides; without a rule the driver's judgement stays."""

from __future__ import annotations

from platint_tui.core.errors import ConfigError, SystemicError, TransientError
from platint_tui.drivers.judged import by_rules
from platint_tui.manifest.registry import Registry, default_dirs

CONNECTOR = Registry(default_dirs(environ={})).get("postgresql")


def test_a_rule_changes_class_and_hint_and_keeps_the_sentence() -> None:
    judged = by_rules(
        SystemicError("It broke.", hint="native", where="here", code="40P01"), CONNECTOR, "40P01"
    )
    assert isinstance(judged, TransientError)
    assert (judged.message, judged.hint, judged.where, judged.code) == (
        "It broke.",
        "native",
        "here",
        "40P01",
    )
    missing = by_rules(ConfigError("No.", hint="native"), CONNECTOR, "3D000")
    assert isinstance(missing, ConfigError) and missing.hint.startswith("The database or the schema")


def test_a_code_that_no_rule_names_stays_as_the_driver_judged_it() -> None:
    error = SystemicError("Odd.")
    assert by_rules(error, CONNECTOR, "XX000") is error
    assert by_rules(error, CONNECTOR, "") is error
