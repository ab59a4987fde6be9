"""What leaves the inbox and what it says: editor, files, copies, plans."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seeding import NOW_MS

from platint_tui.core.errors import ConfigError, ErrorClass
from platint_tui.core.model import Attempt, DeadLetter, ReplayJob, Trigger
from platint_tui.core.states import DeadLetterState
from platint_tui.core.text import clean
from platint_tui.services.deadletters import DeadLetterView
from platint_tui.services.replays import ReplayPlan
from platint_tui.tui.screens.deadletters import output, planwords, words
from platint_tui.tui.screens.deadletters.editing import editable, problem_of
from platint_tui.tui.screens.deadletters.replaying import plan_confirmation

LETTER = DeadLetter(
    id="dl_1",
    number=7,
    direction="record",
    profile="crm",
    platform="demo-crm",
    integration="billing",
    stream="customers",
    run="run_1",
    manifest_version="0.1.0",
    record_key='["cus_1"]',
    payload=b'{"id": "cus_1"}',
    content_hash="h",
    idempotency_key="k",
    fingerprint="f",
    error_class=ErrorClass.RECORD,
    code="missing_field",
    message="email is required",
    field="email",
    hint="",
    state=DeadLetterState.OPEN,
    parent=None,
    occurrences=1,
    attempts=0,
    first_seen_ms=NOW_MS - 60_000,
    last_seen_ms=NOW_MS - 60_000,
    size=15,
    request=None,
    response=None,
)


def editor(tmp_path: Path, body: str) -> dict[str, str]:
    """An environment whose $EDITOR is a small program."""
    script = tmp_path / "editor.py"
    script.write_text(f"import os, stat, sys\npath = sys.argv[-1]\n{body}\n")
    return {
        "EDITOR": f"{sys.executable} {script}",
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
        "PLATINT_SECRET__CRM__TOKEN": "s3cret-value",
        "AWS_SESSION_TOKEN": "s3cret-value",
        "XDG_TOKEN": "s3cret-value",
    }


def test_N_the_editor_gets_a_private_file_and_no_secret(tmp_path: Path) -> None:
    seen = tmp_path / "seen.txt"
    environ = editor(
        tmp_path,
        "text = open(path).read()\n"
        f"open({str(seen)!r}, 'w').write(repr((oct(stat.S_IMODE(os.stat(path).st_mode)),"
        " oct(stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode)), sorted(os.environ), path)))\n"
        "open(path, 'w').write(text.replace('null', '1'))",
    )
    old = os.umask(0)
    try:
        assert output.edit_outside('{"a": null}', tmp_path, environ) == '{"a": 1}'
    finally:
        os.umask(old)
    text = seen.read_text()
    assert "'0o600', '0o700'" in text and "LC_ALL" in text
    assert "PLATINT" not in text and "TOKEN" not in text
    assert not list(tmp_path.glob("edit-*"))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("sys.exit(3)", "ended with code 3"),
        ("open(path, 'wb').write(b'\\xff')", "no UTF-8"),
        ("os.unlink(path)", "cannot be used"),
    ],
)
def test_an_editor_that_fails_changes_nothing(tmp_path: Path, body: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        output.edit_outside("{}", tmp_path, editor(tmp_path, body))
    assert not list(tmp_path.glob("edit-*"))


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "No editor is named"),
        ({"EDITOR": "no-such-editor-here"}, "is not found"),
        ({"VISUAL": "'open"}, "cannot be read"),
    ],
)
def test_without_an_editor_there_is_a_sentence(tmp_path: Path, environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        output.edit_outside("{}", tmp_path, {"PATH": os.environ["PATH"], **environ})


@given(st.text())
def test_M6_copies_are_harmless(text: str) -> None:
    letter = replace(LETTER, message=text, record_key=text, code=text)
    copied = output.as_json(letter, text)
    assert clean(copied, lines=True) == copied


@given(st.text())
def test_an_editable_text_is_harmless_and_a_problem_is_a_sentence(text: str) -> None:
    shown = editable(text)
    assert clean(shown, lines=True) == shown
    problem = problem_of(text)
    assert problem == "" or problem.endswith((".", "}", "…}."))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": 1}', ""),
        ("[1]", "A record is an object: {…}."),
        ('{"a": }', "Line 1, column 7: Expecting value."),
        ('{\n"a": 1,\n}', "Line 3, column 1: Expecting property name enclosed in double quotes."),
    ],
)
def test_K12_what_is_wrong_with_an_edit(text: str, problem: str) -> None:
    assert problem_of(text) == problem


def plan(count: int, environment: str = "sandbox") -> ReplayPlan:
    ids = tuple(f"dl_{index}" for index in range(count))
    first = ('{"id":\n 1}', "\x1b[2J", "x" * 500)
    return ReplayPlan(
        ids, "crm", "demo-crm", environment, "https://crm.example.com", NOW_MS - 7_200_000, first
    )


def test_K10_a_plan_names_host_count_age_and_first_bodies() -> None:
    asked = plan_confirmation(plan(51), DeadLetterView(LETTER, ()), NOW_MS)
    text = "\n".join(asked.lines)
    assert asked.title == "Replay 51 dead letters to crm" and "https://crm.example.com" in text
    assert "2 h ago" in text and "sandbox" in text and '{"id": 1}' in text
    assert clean(text, lines=True) == text
    assert asked.typed == "crm"
    assert plan_confirmation(plan(50), DeadLetterView(LETTER, ()), NOW_MS).typed == ""
    assert plan_confirmation(plan(1, "production"), DeadLetterView(LETTER, ()), NOW_MS).typed == "crm"
    unknown = replace(LETTER, state=DeadLetterState.UNKNOWN)
    assert any(
        "may have it already" in line
        for line in plan_confirmation(plan(1), DeadLetterView(unknown, ()), NOW_MS).lines
    )


@pytest.mark.parametrize(
    ("job", "text", "tone"),
    [
        ({"pending": 30, "succeeded": 12}, "Replaying: 12 of 42, 12 arrived", "info"),
        ({"succeeded": 42, "ended_ms": 1}, "Replay ended: 42 arrived.", "ok"),
        ({"succeeded": 40, "failed": 2, "ended_ms": 1}, "Replay ended: 40 arrived, 2 refused.", "warn"),
        ({"failed": 42, "ended_ms": 1}, "Replay ended: 0 arrived, 42 refused.", "bad"),
        (
            {"succeeded": 2, "unknown": 1, "ended_ms": 1, "state": "cancelled"},
            "Replay cancelled: 2 arrived, 1 unknown, 39 not sent.",
            "warn",
        ),
    ],
)
def test_a_job_in_a_line(job: dict[str, object], text: str, tone: str) -> None:
    base = ReplayJob("j", "running", Trigger.BULK, 0, None, 42, 0, 0, 0, 0, 0)
    assert planwords.job_words(replace(base, **job)) == (text, tone)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ('["cus_1"]', "cus_1"),
        ('["a", 7]', "a · 7"),
        ("[]", "[]"),
        ("not json", "not json"),
        ('{"a": 1}', '{"a": 1}'),
    ],
)
def test_a_record_key_as_people_read_it(key: str, text: str) -> None:
    assert words.key_text(key) == text


def test_every_class_and_state_says_what_next() -> None:
    for error_class in ErrorClass:
        assert words.what_next(error_class, "").endswith(".")
        assert words.what_next(error_class, "Do this.") == "Do this."
    for state in DeadLetterState:
        assert words.what_next(ErrorClass.RECORD, "h", state)


def test_attempts_and_lineage_are_told() -> None:
    attempt = Attempt(
        "dl_1", 1, Trigger.MANUAL, "job_1", "k", "failed", NOW_MS, NOW_MS + 1500, "E", "no\nluck"
    )
    view = DeadLetterView(replace(LETTER, parent="dl_0", attempts=1), (attempt,))
    text = "".join(piece for piece, _ in words.attempts_text(view, NOW_MS))
    assert "manual" in text and "1.5 s  E no luck" in text and "edit of" in text and "dl_0" in text
