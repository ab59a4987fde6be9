from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platint_tui.demo.crm import check_contact
from platint_tui.demo.records import Dataset, iso, parse_iso

STREAMS = ("customers", "charges")


def contact(customer: dict[str, object]) -> dict[str, object]:
    """A payments customer as the CRM takes it."""
    names = ("name", "email", "country", "balance", "updated_at")
    return {"external_id": customer["id"], **{name: customer[name] for name in names if name in customer}}


@given(
    seed=st.integers(0, 2**62),
    charges=st.integers(1, 2_000_000),
    stream=st.sampled_from(STREAMS),
    data=st.data(),
)
def test_a_record_is_found_by_its_id_and_its_time(
    seed: int, charges: int, stream: str, data: st.DataObject
) -> None:
    dataset = Dataset(seed, charges)
    n = data.draw(st.integers(0, dataset.total(stream) - 1))
    record = json.loads(dataset.rows(stream, n, 1)[0])
    assert record["id"] == dataset.identifier(stream, n)
    assert dataset.index_of(stream, record["id"]) == n
    assert parse_iso(record["updated_at"]) == dataset.updated_ms(stream, n)
    first = dataset.first_since(stream, dataset.updated_ms(stream, n))
    assert first <= n and dataset.updated_ms(stream, first) == dataset.updated_ms(stream, n)
    assert first == 0 or dataset.updated_ms(stream, first - 1) < dataset.updated_ms(stream, n)


@given(st.text(max_size=30))
def test_an_unknown_id_is_no_record(text: str) -> None:
    dataset = Dataset(1, 1000)
    known = dataset.identifier("charges", 5)
    assert dataset.index_of("charges", text) in (None, 5 if text == known else None)
    assert dataset.index_of("charges", known[:-1] + ("0" if known[-1] != "0" else "1")) is None


@pytest.mark.parametrize("stream", STREAMS)
def test_records_do_not_depend_on_how_many_there_are(stream: str) -> None:
    small, large = Dataset(3, 400), Dataset(3, 1_000_000, generation=2)
    assert small.rows(stream, 0, 100) == large.rows(stream, 0, 100)
    assert Dataset(4, 400).rows(stream, 0, 100) != small.rows(stream, 0, 100)


@pytest.mark.parametrize("stream", STREAMS)
def test_a_generation_adds_newer_records_at_the_end(stream: str) -> None:
    before, after = Dataset(3, 2000), Dataset(3, 2000, generation=1)
    base = before.total(stream)
    assert after.total(stream) - base == max(5, base * 2 // 100)
    assert after.rows(stream, 0, base) == before.rows(stream, 0, base)
    assert after.first_since(stream, before.updated_ms(stream, base - 1) + 1) >= base


def test_the_crm_refuses_one_and_a_half_percent_of_the_customers() -> None:
    dataset = Dataset(1, 8000)
    customers = [json.loads(text) for text in dataset.rows("customers", 0, 2000)]
    refusals = [refusal for customer in customers if (refusal := check_contact(contact(customer)))]
    assert len(customers) == 2000
    assert sorted({(code, field) for code, field, _ in refusals}) == [
        ("missing_field", "email"),
        ("too_long", "name"),
        ("wrong_type", "balance"),
    ]
    assert len(refusals) == 30


def test_half_a_percent_of_the_charges_has_a_wrong_type() -> None:
    charges = [json.loads(text) for text in Dataset(1, 4000).rows("charges", 0, 4000)]
    wrong = [row for row in charges if type(row["amount"]) is not int or type(row["refunded"]) is not bool]
    assert len(wrong) == 20
    owners = {row["customer"] for row in charges}
    known = {Dataset(1, 4000).identifier("customers", n) for n in range(1000)}
    assert owners <= known


@pytest.mark.parametrize("size", [300, 600, 20_000])
def test_a_charge_has_about_the_wanted_size(size: int) -> None:
    rows = Dataset(9, 1000, record_bytes=size).rows("charges", 0, 1000)
    assert all(size - 20 <= len(row.encode()) <= max(size + 60, 520) for row in rows)
    assert all(json.loads(row) for row in rows)


@given(st.integers(0, 4_000_000_000_000))
def test_times_go_there_and_back(milliseconds: int) -> None:
    assert parse_iso(iso(milliseconds)) == milliseconds
