"""Fingerprints: one cause has one, whatever ids, times and values it names; two causes never share one."""

from __future__ import annotations

import itertools
import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platint_tui.core.errors import ErrorClass
from platint_tui.core.model import Fault
from platint_tui.engine.fingerprint import fingerprint, normalise

digits = st.integers(0, 10**12).map(str)
ids = st.builds(
    lambda prefix, tail: f"{prefix}_{tail}",
    st.sampled_from(["cus", "ch", "evt", "in"]),
    st.from_regex(r"[a-z0-9]{3,8}[0-9][A-Za-z0-9]{4,8}", fullmatch=True),
)
quoted = st.text(
    st.characters(exclude_characters="'\\", exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=20
)
VALUES = {
    "uuid": st.uuids().map(str),
    "date": st.datetimes(datetime(1980, 1, 1), datetime(2090, 1, 1)).map(
        lambda moment: moment.replace(tzinfo=UTC, microsecond=0).isoformat()
    ),
    "mail": st.from_regex(r"[a-z][a-z0-9.]{0,10}[a-z]@[a-z]{1,8}\.(example|test)", fullmatch=True),
    "number": st.one_of(digits, st.decimals(-1000, 1000, places=2).map(str)),
    "id": ids,
    "value": quoted.map(lambda text: f"'{text}'"),
    "hex": st.binary(min_size=8, max_size=20).map(lambda raw: "0x" + raw.hex()),
    "url": st.from_regex(r"https://[a-z]{1,9}\.example/[a-z0-9/?=&]{0,20}", fullmatch=True),
}
word = st.sampled_from(
    [
        "charge",
        "invoice",
        "refused",
        "missing",
        "because",
        "customer",
        "must",
        "not",
        "exceed",
        "already",
        "gone",
    ]
)
template = st.lists(
    st.one_of(word, st.sampled_from(sorted(VALUES)).map(lambda kind: f"{{{kind}}}")), min_size=1, max_size=8
)


@st.composite
def twice_filled(draw: st.DrawFn) -> tuple[str, str]:
    """One sentence with its slots filled in two ways."""
    parts = draw(template)

    def filled() -> str:
        return " ".join(draw(VALUES[part[1:-1]]) if part.startswith("{") else part for part in parts)

    return filled(), filled()


@given(twice_filled())
def test_the_same_sentence_with_other_values_is_the_same_cause(pair: tuple[str, str]) -> None:
    one, other = pair
    assert normalise(one) == normalise(other)


CAUSES = [
    "must have required property 'email'",
    "must have required property 'name'",
    "'email' is a required property",
    "'name' is a required property",
    'null value in column "email" of relation "customers" violates not-null constraint',
    'null value in column "name" of relation "customers" violates not-null constraint',
    'null value in column "name" of relation "orders" violates not-null constraint',
    'duplicate key value violates unique constraint "customers_email_key" Key (email)=(a b) already exists.',
    'duplicate key value violates unique constraint "customers_pkey" Key (email)=(a b) already exists.',
    "Missing required param: email.",
    "Missing required param: name.",
    "Unknown field `colour`",
    "Unknown field `size`",
    "No such customer: 'cus_1'",
    "No such invoice: 'in_1'",
    "The scope `read_orders` is needed",
    "The scope `write_orders` is needed",
    "email is not valid",
    "email is too long",
    "must be greater than 5",
    "must be less than 5",
    "HTTP 409",
    "timeout",
]


@pytest.mark.parametrize(("one", "other"), itertools.combinations(CAUSES, 2))
def test_no_two_causes_are_confused(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


def test_a_place_in_a_list_and_a_value_in_a_detail_are_no_cause() -> None:
    assert normalise("property 'items.0.price' is wrong") == normalise("property 'items.17.price' is wrong")
    assert normalise("Key (id)=(abc) already exists.") == normalise("Key (id)=(x, y z) already exists.")


@given(st.text(max_size=300))
def test_any_message_has_a_short_stable_form(message: str) -> None:
    form = normalise(message)
    assert form == normalise(message) and "\n" not in form
    name = fingerprint("p", "i", "s", Fault(ErrorClass.RECORD, "c", message))
    assert len(name) == 16 and int(name, 16) >= 0


def test_it_tells_platform_sync_class_code_and_field_apart() -> None:
    faults = [
        Fault(ErrorClass.RECORD, "c", "said", "f"),
        Fault(ErrorClass.SYSTEMIC, "c", "said", "f"),
        Fault(ErrorClass.RECORD, "d", "said", "f"),
        Fault(ErrorClass.RECORD, "c", "said", "g"),
    ]
    names = [fingerprint("p", "i", "s", fault) for fault in faults]
    names += [fingerprint(*where, faults[0]) for where in (("q", "i", "s"), ("p", "j", "s"), ("p", "i", "t"))]
    names.append(fingerprint("p", "is", "", faults[0]))
    assert len(set(names)) == len(names)


def test_ids_of_a_run_do_not_make_new_issues() -> None:
    """A thousand failures of one cause, each with an id, a time and an amount of its own, are one issue."""
    names = {
        fingerprint(
            "stripe",
            "billing",
            "charges",
            Fault(
                ErrorClass.RECORD,
                "amount_too_small",
                f"Charge ch_3N{number:08}Ab of {uuid.UUID(int=number)} at 2026-05-{number % 28 + 1:02}T10:00:00Z: "
                f"amount {number / 100:.2f} is below 0.50 (request req_{number:010}x)",
            ),
        )
        for number in range(1000)
    }
    assert len(names) == 1
