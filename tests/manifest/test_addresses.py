"""Where a profile's requests go, and which way to sign in it uses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifest.samples import MANIFEST

from platint_tui.core.errors import ConfigError, RecordError
from platint_tui.manifest import hosts
from platint_tui.manifest.addresses import address_of, origins_of
from platint_tui.manifest.form import form_view
from platint_tui.manifest.loader import load_text
from platint_tui.manifest.signin import chosen_auth, needed_fields
from platint_tui.manifest.template import render, render_body

REGIONAL = ("${profile.endpoint_url}", "https://sqs.${profile.region}.amazonaws.com")


def scope(**fields: str) -> dict[str, dict[str, str]]:
    return {"profile": fields}


def test_the_first_form_whose_values_are_there() -> None:
    assert (
        address_of(REGIONAL, scope(region="eu-west-1"), "production") == "https://sqs.eu-west-1.amazonaws.com"
    )
    local = scope(region="eu-west-1", endpoint_url="http://127.0.0.1:4566")
    assert address_of(REGIONAL, local, "production") == "http://127.0.0.1:4566"
    with pytest.raises(ConfigError, match="no address") as caught:
        address_of(REGIONAL, scope(), "production")
    assert "profile.endpoint_url" in caught.value.hint and "profile.region" in caught.value.hint


def test_an_address_by_environment() -> None:
    address = (
        "${profile.base_url}",
        {"production": "https://api.example.com", "sandbox": "https://sandbox.example.com"},
    )
    assert address_of(address, scope(), "sandbox") == "https://sandbox.example.com"
    assert address_of(address, scope(), "production") == "https://api.example.com"
    assert address_of(address, scope(base_url="https://own.example"), "sandbox") == "https://own.example"
    with pytest.raises(ConfigError, match="no address"):
        address_of(address, scope(), "development")


@given(st.text(min_size=1, max_size=40))
def test_a_value_in_the_host_never_leads_elsewhere(value: str) -> None:
    try:
        url = address_of(("https://${profile.shop}.example.com/api",), scope(shop=value), "production")
    except ConfigError:
        return
    host = hosts.origin(url).removeprefix("https://").rpartition(":")[0]
    assert host.endswith(".example.com") and url.endswith("/api")
    assert all(char.isascii() and (char.isalnum() or char in "-.") for char in host)


def test_plain_http_only_where_the_manifest_allows_it() -> None:
    address = ("${profile.base_url}",)
    with pytest.raises(ConfigError, match="Plain http"):
        address_of(address, scope(base_url="http://shop.example"), "production")
    url = address_of(address, scope(base_url="http://shop.example"), "production", plain_http=True)
    assert url == "http://shop.example"


FIRST_OF = """auth:
  type: first_of
  of:
    - {when: {field: account, equals: key}, auth: {type: api_key, secret: api_key, name: X-Key, label: By key}}
    - auth:
        {type: oauth2, grant: client_credentials, token_url: 'https://login.example.com/t', client_id: client_id,
         client_secret: client_secret, label: By client}
    - auth: {type: bearer, secret: api_key, label: By token}
"""
FIELDS = """    - {id: account, optional: true}
    - {id: client_id, optional: true}
    - {id: client_secret, secret: true}
"""


def several() -> str:
    text = MANIFEST.replace("auth: {type: bearer, secret: api_key}\n", FIRST_OF)
    text = text.replace("    - {id: account, optional: true}\n", FIELDS)
    return text.replace("secret: true, required: true, pattern: '^sk_'", "secret: true")


def test_the_first_way_to_sign_in_that_the_profile_fits() -> None:
    connector = load_text(several())
    auth = connector.auth

    def way(*filled: str, **fields: str) -> str | None:
        return chosen_auth(auth, frozenset(filled), fields).label

    assert way("api_key") == "By token"
    assert way("api_key", "client_id", "client_secret") == "By client"
    assert way("api_key", account="key") == "By key"
    with pytest.raises(ConfigError) as caught:
        way("client_id")
    assert "By client (client_id, client_secret)" in caught.value.hint


def test_the_token_address_is_among_the_origins_of_those_who_use_it() -> None:
    connector = load_text(several())
    fields = {"base_url": "https://api.example.com"}
    assert origins_of(connector, fields, ["api_key"]) == ("https://api.example.com:443",)
    client = {**fields, "client_id": "x"}
    assert origins_of(connector, client, ["client_secret"]) == (
        "https://api.example.com:443",
        "https://login.example.com:443",
    )


def test_a_wildcard_host_is_below_its_domain_over_https() -> None:
    assert hosts.matches_wildcard("*.salesforce.com", "https://my.salesforce.com:443")
    for other in (
        "https://salesforce.com:443",
        "https://evilsalesforce.com:443",
        "http://my.salesforce.com:80",
        "https://my.salesforce.com:8443",
        "https://my.salesforce.com.evil.example:443",
    ):
        assert not hosts.matches_wildcard("*.salesforce.com", other)


def test_session_tokens_and_roles_are_optional() -> None:
    text = MANIFEST.replace(
        "auth: {type: bearer, secret: api_key}",
        "auth: {type: aws_sigv4, service: sqs, region: eu-west-1, access_key: account, secret_key: api_key,"
        " session_token: session, role_arn: role}",
    ).replace(
        "    - {id: account, optional: true}\n",
        "    - {id: account, optional: true}\n    - {id: role}\n    - {id: session, secret: true}\n",
    )
    auth = chosen_auth(load_text(text).auth, frozenset(), {})
    assert needed_fields(auth) == {"account", "api_key"}
    regional = text.replace("region: eu-west-1", "region: '${profile.role}'")
    assert needed_fields(chosen_auth(load_text(regional).auth, frozenset(), {})) == {
        "account",
        "api_key",
        "role",
    }


def test_filters_of_requests() -> None:
    values = {"record": {"key": "a b/c d.csv", "n": 7, "tags": ["x"], "at": "2026-03-04T05:06:07Z"}}
    assert render("/${record.key}", values, "path") == "/a%20b%2Fc%20d.csv"
    assert render("/${record.key | segments}", values, "path") == "/a%20b/c%20d.csv"
    assert render("${record.n | text}", values, "body") == "7"
    assert render("${record | without:key, tags, at}", values, "body") == {"n": 7}
    item = {"type": "X", "...": "${record | without:key,type}", "n": 8}
    assert render_body(item, values) == {"type": "X", "tags": ["x"], "at": values["record"]["at"], "n": 8}
    with pytest.raises(RecordError, match="is no object"):
        render_body({"...": "${record.n}"}, values)
    assert render("${record.tags | json}", values, "query") == '["x"]'
    assert render('updated >= "${record.at | format:%Y/%m/%d %H:%M}"', values, "query") == (
        'updated >= "2026/03/04 05:06"'
    )


def test_a_form_by_the_way_to_sign_in() -> None:
    connector = load_text(several())
    view = form_view(connector)
    assert [way.label for way in view.ways] == ["By key", "By client", "By token"]
    by_key, by_client, by_token = view.ways
    names = {way.label: [item.id for item in view.by(way).fields] for way in view.ways}
    assert names["By client"] == ["client_id", "client_secret", "base_url", "account"]
    assert names["By key"] == ["api_key", "base_url"] and by_key.fixed == {"account": "key"}
    assert "client_secret" not in names["By token"] and not by_token.asks
    assert {item.id for item in view.by(by_client).fields if item.required} == {
        "base_url",
        "client_id",
        "client_secret",
    }


def test_a_way_that_another_hides_is_told() -> None:
    first, second = FIRST_OF.index("    - auth:"), FIRST_OF.index("    - auth: {type: bearer")
    swapped = FIRST_OF[:first] + FIRST_OF[second:] + FIRST_OF[first:second]
    swapped = swapped.replace(
        "client_id: client_id,\n         client_secret: client_secret",
        "client_id: client_id,\n         client_secret: api_key",
    )
    with pytest.raises(
        ConfigError, match="is never chosen: every profile that fits it fits 'By token' before"
    ):
        load_text(
            several().replace(FIRST_OF, swapped).replace("    - {id: client_secret, secret: true}\n", "")
        )


def test_a_wildcard_is_among_what_the_credential_is_entered_for() -> None:
    text = MANIFEST.replace("['${profile.base_url}']", "['${profile.base_url}', '*.files.example.com']")
    found = origins_of(load_text(text), {"base_url": "https://api.example.com"}, ["api_key"])
    assert found == ("*.files.example.com", "https://api.example.com:443")
