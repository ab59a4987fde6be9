"""Patches: deterministic, of the named fields only, and what an edit did is what its patch does."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platint_tui.core.errors import ConfigError, RecordError
from platint_tui.core.patch import (
    CAST,
    CASTS,
    DEFAULT,
    DROP,
    RENAME,
    SET,
    Patch,
    Path,
    Step,
    apply,
    derive,
    documents,
    patch_of,
    read_path,
    same,
    write_path,
)

NAMES = st.text(alphabet="ab.\\0é", max_size=3)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(allow_nan=False, allow_infinity=False, width=16),
    st.sampled_from(["", "1", "2.0", "true", " 7 ", "x", "NaN", "1e2"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)
RECORDS = st.dictionaries(NAMES, VALUES, max_size=4)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(tuple)
STEPS = st.one_of(
    st.builds(Step, st.sampled_from([SET, DEFAULT]), PATHS, VALUES),
    st.builds(Step, st.just(DROP), PATHS),
    st.builds(lambda path, kind: Step(CAST, path, to=kind), PATHS, st.sampled_from(CASTS)),
    st.builds(lambda path, to: Step(RENAME, path, to=write_path(to)), PATHS, PATHS).filter(
        lambda step: step.to and not _within(step.path, read_path(step.to))
    ),
)


def _within(one: Path, other: Path) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def leaves(value: Any, path: Path = ()) -> dict[Path, Any]:
    """Every value of a record by its whole path; empty objects and lists count as values."""
    if isinstance(value, dict) and value:
        return {
            key: item for name, inner in value.items() for key, item in leaves(inner, (*path, name)).items()
        }
    if isinstance(value, list) and value:
        return {
            key: item
            for at, inner in enumerate(value)
            for key, item in leaves(inner, (*path, str(at))).items()
        }
    return {path: value}


@given(RECORDS, st.lists(STEPS, max_size=4).map(tuple))
def test_applying_is_deterministic_and_leaves_the_record_alone(record: dict[str, Any], patch: Patch) -> None:
    before = copy.deepcopy(record)
    try:
        first = apply(record, patch)
    except RecordError as error:
        assert error.code == "patch" and (error.where or any(step.path == ("",) for step in patch))
        with pytest.raises(RecordError):
            apply(record, patch)
    else:
        assert same(first, apply(record, patch))
    assert same(record, before)


@given(RECORDS, STEPS)
def test_fields_that_no_step_names_are_never_touched(record: dict[str, Any], step: Step) -> None:
    try:
        made = apply(record, (step,))
    except RecordError:
        return
    named = [step.path, *([read_path(step.to)] if step.op == RENAME else [])]
    after = leaves(made)
    for path, value in leaves(record).items():
        if not any(_within(path, item) for item in named):
            assert path in after and same(after[path], value)


@given(RECORDS, STEPS)
def test_a_step_changes_nothing_when_it_is_applied_again(record: dict[str, Any], step: Step) -> None:
    try:
        once = apply(record, (step,))
    except RecordError:
        return
    assert same(apply(once, (step,)), once)


@settings(max_examples=300)
@given(RECORDS, RECORDS)
def test_what_an_edit_did_is_what_its_patch_does(before: dict[str, Any], after: dict[str, Any]) -> None:
    patch = derive(before, after)
    assert same(apply(before, patch), after)
    assert patch_of(documents(patch)) == patch
    assert bool(patch) != same(before, after)


@given(PATHS)
def test_a_path_comes_back_from_its_text(path: Path) -> None:
    assert read_path(write_path(path)) == path


def test_an_edit_becomes_the_step_that_fits_others_too() -> None:
    before = {"id": "a", "amount": "12", "mail": "x@y", "note": None, "junk": 1, "at": {"zip": 123}}
    after = {"id": "a", "amount": 12, "email": "x@y", "note": "-", "at": {"zip": "123"}, "country": "DE"}
    patch = derive(before, after)
    assert {step.words() for step in patch} == {
        "rename mail to email",
        "drop junk",
        'default country to "DE"',
        "cast amount to integer",
        'default note to "-"',
        "cast at.zip to string",
    }
    other = {
        "id": "b",
        "amount": "7",
        "mail": "z",
        "note": "keep",
        "at": {"zip": 9},
        "country": "FR",
        "more": [1],
    }
    assert apply(other, patch) == {
        "id": "b",
        "amount": 7,
        "email": "z",
        "note": "keep",
        "at": {"zip": "9"},
        "country": "FR",
        "more": [1],
    }


@pytest.mark.parametrize(
    ("value", "kind", "made"),
    [
        ("12", "integer", 12),
        (12.0, "integer", 12),
        ("12.50", "number", 12.5),
        ("0.1234567890123456789", "number", Decimal("0.1234567890123456789")),
        (True, "string", "true"),
        (5, "string", "5"),
        ("TRUE", "boolean", True),
        (0, "boolean", False),
        (None, "integer", None),
    ],
)
def test_casts(value: Any, kind: str, made: Any) -> None:
    assert same(apply({"a": value}, (Step(CAST, ("a",), to=kind),)), {"a": made})


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("x", "integer"),
        ("1.5", "integer"),
        ("NaN", "number"),
        (True, "number"),
        ({}, "string"),
        ("2", "boolean"),
    ],
)
def test_a_value_that_cannot_be_cast_is_not_guessed(value: Any, kind: str) -> None:
    with pytest.raises(RecordError, match="is no"):
        apply({"a": value}, (Step(CAST, ("a",), to=kind),))


def test_elements_of_lists_are_changed_but_never_made() -> None:
    record = {"items": [{"n": "1"}, {"n": "2"}]}
    assert apply(record, (Step(CAST, ("items", "1", "n"), to="integer"),)) == {
        "items": [{"n": "1"}, {"n": 2}]
    }
    with pytest.raises(RecordError):
        apply(record, (Step(SET, ("items", "2", "n"), 3),))
    assert apply(record, (Step(DROP, ("items", "0")),)) == record


@pytest.mark.parametrize(
    "document",
    [
        {"op": "eval", "path": "a"},
        {"op": "set", "path": "a"},
        {"op": "cast", "path": "a", "to": "date"},
        {"op": "rename", "path": "a", "to": "a.b"},
        {"op": "rename", "path": "a"},
        {"op": "drop", "path": 1},
    ],
)
def test_a_patch_that_makes_no_sense_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="Step 1"):
        patch_of([document])
