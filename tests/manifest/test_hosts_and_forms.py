from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifest.samples import MANIFEST

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Environment
from platint_tui.manifest import addresses, form, hosts
from platint_tui.manifest.loader import load_text
from platint_tui.manifest.registry import Registry, bundled_dir

REGISTRY = Registry([bundled_dir("connectors")])
SAMPLE = load_text(MANIFEST)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.example.com", "https://api.example.com:443"),
        ("https://API.example.com:8443/v3", "https://api.example.com:8443"),
        ("http://127.0.0.1:4700", "http://127.0.0.1:4700"),
        ("http://localhost", "http://localhost:80"),
        ("http://[::1]:80/x", "http://[::1]:80"),
        ("https://10.0.0.5", "https://10.0.0.5:443"),
    ],
)
def test_origins(url: str, expected: str) -> None:
    assert hosts.origin(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "http://10.0.0.5",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "https://user@example.com",
        "https://user:pw@example.com",
        "https://example.com#x",
        "https://example.com:99999",
        "https://example.com:0",
        "https://",
        "https://exa\tmple.com",
        "https://example.com\\@evil.example",
        "https://[::1",
        "https://é.example",
        "file:///etc/passwd",
        "example.com",
        "//example.com",
        "",
    ],
)
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        hosts.origin(url)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.from_regex(r"https?://[a-z0-9.:@/\\\[\]?#%-]{0,30}", fullmatch=True))
def test_any_address_has_an_origin_or_is_refused(url: str) -> None:
    try:
        found = hosts.origin(url)
    except ConfigError:
        return
    assert hosts.origin(found) == found


def test_allowed_origins() -> None:
    entries = ["${profile.base_url}", "uploads.example.com", "127.0.0.1:9000"]
    profile = {"base_url": "https://api.example.com/v3"}
    assert hosts.allowed_origins(entries, profile) == {
        "https://api.example.com:443",
        "https://uploads.example.com:443",
        "http://127.0.0.1:9000",
    }
    with pytest.raises(ConfigError, match="base_url"):
        hosts.allowed_origins(entries, {})


def test_L11_the_origins_of_a_profile_follow_from_its_fields() -> None:
    github = REGISTRY.get("github")
    plain = form.validate_fields(github, {}, secrets={"token": "x" * 20})
    assert addresses.origins_of(github, plain) == ("https://api.github.com:443",)
    enterprise = form.validate_fields(
        github, {"base_url": "https://git.corp.example/api/v3/"}, secrets={"token": None}
    )
    assert enterprise["base_url"] == "https://git.corp.example/api/v3"
    assert addresses.origins_of(github, enterprise) == ("https://git.corp.example:443",)


def refused(values: dict[str, str], secrets: dict[str, str | None] | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        form.validate_fields(SAMPLE, values, secrets={"api_key": None} if secrets is None else secrets)
    return caught.value


def test_fields_are_checked_by_name() -> None:
    assert form.validate_fields(SAMPLE, {"base_url": "https://x.example"}, secrets={"api_key": "sk_1"}) == {
        "base_url": "https://x.example"
    }
    assert refused({}).where == "base_url"
    assert refused({"base_url": "x"}).where == "base_url"
    assert refused({"base_url": "https://x.example?a=1"}).where == "base_url"
    assert "did you mean 'base_url'" in refused({"bas_url": "x"}).message
    assert refused({"base_url": "https://x.example"}, {}).where == "api_key"
    assert refused({"base_url": "https://x.example", "api_key": "sk_1"}).where == "api_key"
    assert refused({"base_url": "https://x.example"}, {"api_key": None, "account": "x"}).where == "account"
    assert refused({"base_url": "https://x.example", "account": "a\x1b[31m"}).where == "account"


@pytest.mark.parametrize("value", ["", "  ", "sk_1\n", "pk_1", "sk_" + "x" * 70_000])
def test_a_bad_secret_is_refused_without_repeating_it(value: str) -> None:
    error = refused({"base_url": "https://x.example"}, {"api_key": value})
    assert error.where == "api_key"
    assert value.strip()[:3] not in error.message or not value.strip()


def test_a_credential_in_an_open_field_is_refused() -> None:
    error = refused({"base_url": "https://x.example", "account": "sk_live_abcdef"})
    assert error.where == "account" and "abcdef" not in error.sentence()


def test_types_and_choices() -> None:
    postgresql = REGISTRY.get("postgresql")
    base = {"host": "db.example", "database": "d", "user": "u"}
    checked = form.validate_fields(postgresql, base)
    assert checked == {**base, "port": "5432", "tls": "verify-full", "schema": "public"}
    assert form.validate_fields(postgresql, {**base, "port": "0063"})["port"] == "63"
    with pytest.raises(ConfigError, match="whole number"):
        form.validate_fields(postgresql, {**base, "port": "5432;"})
    with pytest.raises(
        ConfigError, match=r"must be disable, require or verify-full; did you mean 'verify-full'\?"
    ):
        form.validate_fields(postgresql, {**base, "tls": "verify_full"})
    with pytest.raises(ConfigError, match="is not of the form"):
        form.validate_fields(postgresql, {**base, "schema": 'x"; drop table'})


def test_form_view_and_environment() -> None:
    whole = form.form_view(REGISTRY.get("stripe"))
    assert [way.label for way in whole.ways] == ["Secret or restricted key", "Connect (OAuth)"]
    view = whole.by(whole.ways[0])
    hooks = ["webhook_secret", "webhook_secret_previous"]
    assert [field.id for field in view.fields] == ["api_key", "account", "base_url", *hooks]
    assert view.fields[0].secret and view.fields[0].required
    assert view.fields[2].default == "https://api.stripe.com"
    stripe = REGISTRY.get("stripe")
    assert form.environment_of(stripe, {"api_key": "sk_live_1"}) is Environment.PRODUCTION
    assert form.environment_of(stripe, {"api_key": "sk_test_1"}) is None
    assert form.environment_of(SAMPLE, {"api_key": "sk_live_1"}) is None


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["base_url", "account", "other"]), st.text(max_size=30), max_size=3),
    st.text(max_size=20),
)
def test_any_input_is_checked_or_refused(values: dict[str, str], secret: str) -> None:
    try:
        form.validate_fields(SAMPLE, values, secrets={"api_key": secret})
    except ConfigError as error:
        assert error.where
