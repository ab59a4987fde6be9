# ruff: noqa: E501 - messages are quoted whole
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import StreamMapping
from platint_tui.manifest.integration import load_integration
from platint_tui.manifest.problems import FileError
from platint_tui.manifest.registry import Registry, bundled_dir

REGISTRY = Registry([bundled_dir("connectors")])
FILE = """\
integration: billing-to-warehouse
integration_type: data_sync
platforms:
  - {name: stripe, profile: stripe-test, type: api, endpoints: [customers, charges]}
  - {name: sqlite, profile: warehouse, type: sync}
sync_direction: source_to_target
sync_frequency: on_demand
error_strategy: dead_letter
monitoring: true
streams:
  customers: {target: crm_customers, key: [id], select: [id, email, created], map: {email: lower(email)}}
"""


def broken(*edits: tuple[str, str]) -> list[str]:
    text = FILE
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    with pytest.raises(FileError) as caught:
        load_integration(text, REGISTRY, "i.yaml")
    return caught.value.message.splitlines()


def test_a_whole_file() -> None:
    found = load_integration(FILE, REGISTRY)
    assert (found.name, found.source_platform, found.target_platform) == (
        "billing-to-warehouse",
        "stripe",
        "sqlite",
    )
    assert (found.source_profile, found.target_profile) == ("stripe-test", "warehouse")
    assert found.text == FILE
    assert found.streams == (
        StreamMapping(
            "customers", "crm_customers", ("id",), ("id", "email", "created"), {"email": "lower(email)"}
        ),
        StreamMapping("charges", "charges", ("id",)),
    )


def test_defaults_and_roles(tmp_path: Path) -> None:
    path = tmp_path / "i.yaml"
    path.write_text(
        "integration: small\nplatforms:\n"
        "  - {name: sqlite, profile: w, role: target}\n"
        "  - {name: github, profile: g, endpoints: [commits]}\n"
    )
    found = load_integration(path, REGISTRY)
    assert (found.source_platform, found.target_platform) == ("github", "sqlite")
    assert (found.sync_frequency, found.error_strategy, found.monitoring) == (
        "on_demand",
        "dead_letter",
        True,
    )
    assert found.streams == (StreamMapping("commits", "commits", ("url",)),)


def test_streams_alone_are_the_endpoints() -> None:
    text = FILE.replace(", endpoints: [customers, charges]", "")
    assert [item.stream for item in load_integration(text, REGISTRY).streams] == ["customers"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "sync_frequency: on_demand",
            "sync_freqency: on_demand",
            "i.yaml:7:1: sync_freqency: unknown key; did you mean 'sync_frequency'?",
        ),
        (
            "sync_frequency: on_demand",
            "sync_frequency: hourli",
            "i.yaml:7:17: sync_frequency: 'hourli' is not real_time, hourly, daily or on_demand; did you mean 'hourly'?",
        ),
        (
            "sync_frequency: on_demand",
            "sync_frequency: hourly",
            "i.yaml:7:17: sync_frequency: hourly is valid, but this version cannot run on a schedule",
        ),
        (
            "source_to_target",
            "bidirectional",
            "bidirectional is valid, but this version cannot sync both ways",
        ),
        ("source_to_target", "target_to_source", "name the platforms the other way round"),
        (
            "error_strategy: dead_letter",
            "error_strategy: fallback",
            "needs a third platform with role: fallback",
        ),
        (
            "profile: warehouse, type: sync}",
            "profile: warehouse, type: sync}\n  - {name: sqlite, profile: spare, role: fallback}",
            "platforms[2].role: goes with error_strategy: fallback",
        ),
        (
            "name: stripe",
            "name: strpe",
            "i.yaml:4:12: platforms[0].name: There is no connector for 'strpe'; did you mean 'stripe'?",
        ),
        (
            "[customers, charges]",
            "[customers, chrges]",
            "i.yaml:4:76: platforms[0].endpoints[1]: Stripe has no stream 'chrges'; did you mean 'charges'?",
        ),
        ("[customers, charges]", "[charges]", "streams.customers: is not among the endpoints of stripe"),
        ("[customers, charges]", "[customers, customers]", "is here twice"),
        ("profile: stripe-test", "profile: ../x", "platforms[0].profile: '../x' is not allowed here"),
        (
            "lower(email)",
            "lowr(email)",
            "i.yaml:11:92: streams.customers.map.email: There is no function 'lowr'; did you mean 'lower'?",
        ),
        (
            "select: [id,",
            "select: [address.city,",
            "select takes whole fields; write map: {city: address.city}",
        ),
        ("map: {email:", "map: {_key:", "'_key' is a reserved field name"),
        ("crm_customers", "_platint_positions", "is a reserved name"),
        ("crm_customers", "'drop table'", "streams.customers.target: 'drop table' is no name of a table"),
        ("monitoring: true", "monitoring: yes", "must be true or false, not the text 'yes'"),
        ("key: [id]", "key: id", "must be a list, not the text 'id'"),
        ("  - {name: sqlite, profile: warehouse, type: sync}\n", "", "needs two platforms"),
        (
            "name: sqlite, profile: warehouse",
            "name: github, profile: warehouse",
            "GitHub has no 'crm_customers'",
        ),
    ],
)
def test_L12_what_is_wrong_with_its_place(old: str, new: str, expected: str) -> None:
    lines = broken((old, new))
    assert any(expected in line for line in lines), lines


def test_all_problems_come_at_once() -> None:
    lines = broken(
        ("source_to_target", "bidirectional"),
        ("chrges" if False else "charges]", "chrges]"),
        ("lower(", "lowr("),
    )
    assert len(lines) == 3


@pytest.mark.parametrize(
    "edit",
    [
        ("profile: stripe-test,", "profile: stripe-test, api_key: abcdef123456,"),
        ("profile: stripe-test,", "profile: stripe-test, auth: {token: abcdef123456},"),
        ("monitoring: true", "password: abcdef123456"),
        ("profile: stripe-test,", "profile: sk_live_abcdef123456,"),
        ("crm_customers", "ghp_abcdef123456"),
        ("monitoring: true", "url: https://user:abcdef123456@example.com"),
    ],
)
def test_a_literal_credential_is_refused_with_the_command_and_not_repeated(edit: tuple[str, str]) -> None:
    lines = broken(edit)
    assert len(lines) == 1
    assert "platint-tui profiles add" in lines[0]
    assert "abcdef123456" not in lines[0]


def test_the_command_names_the_profile() -> None:
    (line,) = broken(("profile: stripe-test,", "profile: stripe-test, api_key: abcdef123456,"))
    assert line.startswith("i.yaml:4:42: platforms[0].api_key: ")
    assert "`platint-tui profiles add stripe --name stripe-test`" in line


def test_fields_may_be_called_like_credentials() -> None:
    text = FILE.replace("map: {email: lower(email)}", "map: {token: payment_token, password: x}")
    assert load_integration(text, REGISTRY).streams[0].map == {"token": "payment_token", "password": "x"}


def test_the_same_stream_of_the_same_profile_is_no_sync() -> None:
    text = (
        "integration: loop\nplatforms:\n"
        "  - {name: demo-crm, profile: crm, endpoints: [contacts]}\n  - {name: demo-crm, profile: crm}\n"
    )
    with pytest.raises(ConfigError, match="the same stream of the same profile"):
        load_integration(text, REGISTRY)


def test_the_shipped_examples_are_valid() -> None:
    examples = sorted(bundled_dir("profiles").glob("*.yaml"))
    assert examples
    for path in examples:
        if "integration:" in path.read_text():
            load_integration(path, REGISTRY)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_damage_gives_an_integration_or_a_config_error(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(FILE)))
    end = data.draw(st.integers(start, min(len(FILE), start + 30)))
    text = FILE[:start] + data.draw(st.text("abc:{}[],- \n'\"é*&!|0", max_size=8)) + FILE[end:]
    try:
        load_integration(text, REGISTRY)
    except ConfigError as error:
        assert error.sentence()


FED = """\
integration: fed
integration_type: webhook_automation
platforms:
  - {name: stripe, profile: stripe-test, type: webhook, endpoints: [customers, webhook_events]}
  - {name: sqlite, profile: warehouse}
"""
FALLBACK = FED + "  - {name: sqlite, profile: spare, role: fallback}\nerror_strategy: fallback\n"


def test_an_integration_that_webhooks_feed() -> None:
    found = load_integration(FED, REGISTRY)
    assert (found.receives, found.integration_type) == (True, "webhook_automation")
    assert [(item.stream, item.key) for item in found.streams] == [
        ("customers", ("id",)),
        ("webhook_events", ("id",)),
    ]
    # A source of the type webhook says as much by itself; `full` is read as well.
    short = FED.replace("integration_type: webhook_automation\n", "")
    assert load_integration(short, REGISTRY).integration_type == "webhook_automation"
    both = load_integration(FED.replace("webhook_automation", "full"), REGISTRY)
    assert (both.receives, both.integration_type) == (True, "full")
    assert not load_integration(FILE, REGISTRY).receives


def test_an_integration_with_a_fallback() -> None:
    found = load_integration(FALLBACK, REGISTRY)
    assert (found.target_profile, found.fallback_profile) == ("warehouse", "spare")
    assert found.fallback_platform == "sqlite"


@pytest.mark.parametrize(
    ("text", "old", "new", "expected"),
    [
        (FED, "webhook_events", "webhook_evnts", "Stripe has no stream 'webhook_evnts'; did you mean"),
        (FED, "customers,", "balance_transactions,", "no webhook of Stripe brings 'balance_transactions'"),
        (FED, "name: stripe", "name: jenkins", "has no webhooks, as far as its connector knows"),
        (FALLBACK, "strategy: fallback", "strategy: retry", "platforms[2].role: goes with error_strategy"),
        (FALLBACK, "name: sqlite, profile: spare", "name: stripe, profile: spare", "has no 'webhook_events'"),
        (
            FALLBACK,
            "profile: warehouse}",
            "profile: warehouse, role: fallback}",
            "there is a fallback already",
        ),
        (FALLBACK, ", role: fallback", "", "3 platforms are given"),
        (
            FALLBACK,
            "integration_type: webhook_automation\nplatforms:\n  - {name: stripe, profile: stripe-test, type: webhook, ",
            "platforms:\n  - {name: stripe, profile: stripe-test, ",
            "fallback is for what webhooks bring",
        ),
    ],
)
def test_what_is_wrong_with_an_integration_of_webhooks(text: str, old: str, new: str, expected: str) -> None:
    assert text.count(old) == 1
    with pytest.raises(FileError) as caught:
        load_integration(text.replace(old, new), REGISTRY, "i.yaml")
    assert expected in caught.value.message


TO_STRIPE = """\
integration: leaving
platforms:
  - {name: demo-crm, profile: crm, endpoints: [contacts]}
  - {name: stripe, profile: stripe-test}
streams:
  contacts: {target: customers, operation: delete}
"""


def test_a_stream_names_the_write_of_its_target() -> None:
    [mapping] = load_integration(TO_STRIPE, REGISTRY).streams
    assert mapping.operation == "delete"
    [mapping] = load_integration(TO_STRIPE.replace(", operation: delete", ""), REGISTRY).streams
    assert mapping.operation == ""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "operation: delete",
            "operation: upsert",
            "i.yaml:6:44: streams.contacts.operation: 'customers' of Stripe knows no upsert, only ",
        ),
        ("operation: delete", "operation: remove", "'remove' is not create, upsert, update or delete"),
        (
            "{name: stripe, profile: stripe-test}",
            "{name: sqlite, profile: w}",
            "tables of SQLite are upserted only",
        ),
    ],
)
def test_a_write_that_the_target_has_not(old: str, new: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_integration(TO_STRIPE.replace(old, new), REGISTRY, "i.yaml")
    assert expected in caught.value.message
