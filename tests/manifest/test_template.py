from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platint_tui.core.errors import ConfigError, PlatintError, RecordError
from platint_tui.manifest.template import (
    FILTERS,
    compile_template,
    lookup,
    render,
    render_body,
    render_map,
)

SCOPE: dict[str, Any] = {
    "profile": {"account": "acct_1", "empty": "", "base_url": "https://api.example.com/v3"},
    "record": {
        "id": "a/b c",
        "n": 7,
        "ok": True,
        "tags": ["x", "y"],
        "deep": {"list": [{"v": "z"}]},
        "null": None,
    },
    "parent": {"name": "..", "full": "octocat/hello"},
    "run": {"item_key": "k1"},
}


def test_slots_encode_values() -> None:
    assert render("/v1/items/${record.id}/x", SCOPE, "path") == "/v1/items/a%2Fb%20c/x"
    assert render("${record.id}", SCOPE, "query") == "a/b c"
    assert render("Key ${run.item_key}", SCOPE, "header") == "Key k1"
    assert render("${profile.base_url}/oauth", SCOPE, "url") == "https://api.example.com/v3/oauth"
    assert render("${record.deep.list.0.v}-${record.n}-${record.ok}", SCOPE, "query") == "z-7-true"


def test_a_body_that_is_one_expression_is_the_value_itself() -> None:
    assert render("${record}", SCOPE, "body") is SCOPE["record"]
    assert render("${record.n}", SCOPE, "body") == 7
    assert render("n=${record.n}", SCOPE, "body") == "n=7"
    body = {
        "id": "${record.id}",
        "gone": "${record.gone}",
        "nil": "${record.null}",
        "list": ["${record.n}", 1],
    }
    assert render_body(body, SCOPE) == {"id": "a/b c", "nil": None, "list": [7, 1]}


def test_filters() -> None:
    def one(text: str, value: object) -> str:
        return render("${record.v" + text + "}", {"record": {"v": value}}, "query")

    assert one(" | epoch_s", "2026-01-02T03:04:05Z") == "1767323045"
    assert one(" | epoch_ms", "2026-01-02T03:04:05.678+01:00") == "1767319445678"
    assert one("|iso8601", 1767323045) == "2026-01-02T03:04:05Z"
    assert one("|iso8601", 1767323045678) == "2026-01-02T03:04:05.678Z"
    assert one("|date", "2026-01-02T23:59:59-02:00") == "2026-01-03"
    assert one("|urlencode", "a b&c") == "a%20b%26c"
    assert one("|base64", "äb") == "w6Ri"
    assert one("|lower", "ABC") == "abc"
    assert one("|join:,", ["a", 1, True]) == "a,1,true"
    assert one("|default:none", None) == "none"
    assert one("|default:", "") == ""
    assert one(" | default: A b | lower ", None) == "a b"


def test_missing_values() -> None:
    for slot in ("query", "body", "path"):
        with pytest.raises(ConfigError, match="The profile has no value for 'nothing'") as told:
            render("${profile.nothing}", SCOPE, slot)
        assert "--field nothing=" in told.value.hint
    with pytest.raises(ConfigError, match="The profile has no value for 'empty'"):
        render("/x/${profile.empty}", SCOPE, "path")
    with pytest.raises(RecordError, match=r"\$\{record\.gone\} has no value"):
        render("/x/${record.gone}", SCOPE, "path")
    assert render("${profile.nothing | default:-}", SCOPE, "query") == "-"
    assert render_map({"A": "${profile.empty | default:}", "B": "x", "C": 5, "D": True}, SCOPE, "header") == {
        "B": "x",
        "C": "5",
        "D": "true",
    }


def test_the_literal_characters() -> None:
    assert render("$${x} $ {} 5$", SCOPE, "query") == "${x} $ {} 5$"
    assert compile_template("$${x}").expressions == ()


@pytest.mark.parametrize(
    "text",
    [
        "${",
        "${profile.a",
        "${}",
        "${ . }",
        "${profile..a}",
        "${secrets.key}",
        "${profile.a | upper}",
        "${profile.a | lower:x}",
        "${profile.a | join}",
        "${profile.a()}",
        "${profile['a']}",
        "${7*7}",
        "${0.a}",
        "${profile.a | }",
    ],
)
def test_L6_only_lookups_and_known_filters(text: str) -> None:
    with pytest.raises(ConfigError):
        compile_template(text)


def test_L6_attributes_are_never_followed() -> None:
    class Loaded:
        token = "SECRET"

    for path in ("__class__", "__init__", "token", "keys", "items"):
        assert lookup({"record": Loaded()}, f"record.{path}", "none") == "none"
        with pytest.raises(PlatintError):
            render("${record." + path + "}", {"record": {"a": 1}}, "query")


def test_L7_format_syntax_means_nothing() -> None:
    text = "{record.__init__.__globals__[SECRET]} %(record)s {0}"
    assert render(text, SCOPE, "query") == text


def test_did_you_mean() -> None:
    with pytest.raises(ConfigError, match="did you mean 'profile'"):
        compile_template("${profil.a}")
    with pytest.raises(ConfigError, match="did you mean 'lower'"):
        compile_template("${profile.a | lowr}")


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\x00b", "é", "\ud800"])
def test_L10_header_values(value: str) -> None:
    with pytest.raises(RecordError):
        render("${record.v}", {"record": {"v": value}}, "header")


@pytest.mark.parametrize("value", ["..", ".", "", None, {"a": 1}, ["a"]])
def test_L10_path_segments(value: object) -> None:
    with pytest.raises(RecordError):
        render("/v1/${record.v}/x", {"record": {"v": value}}, "path")
    with pytest.raises(ConfigError):
        render("/v1/${profile.v}", {"profile": {"v": value}}, "path")


def test_L10_dots_that_meet_a_literal() -> None:
    with pytest.raises(RecordError):
        render("/v1/.${record.v}/x", {"record": {"v": "."}}, "path")
    assert render("/v1/a${record.v}", {"record": {"v": ".."}}, "path") == "/v1/a.."


@pytest.mark.parametrize(
    "address",
    ["http://example.com", "https://user:pw@example.com", "ftp://x", "https://exa mple.com", "//x", ""],
)
def test_urls_are_checked(address: str) -> None:
    with pytest.raises(ConfigError):
        render("${profile.u}", {"profile": {"u": address}}, "url")


def test_output_is_bounded() -> None:
    with pytest.raises(RecordError, match="64 kB"):
        render("${record.v}", {"record": {"v": "x" * 70_000}}, "query")


@settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["${", "}", "profile", ".", "|", ":", "$", *FILTERS]), max_size=12)
)
def test_any_template_compiles_or_is_refused(text: str | list[str]) -> None:
    try:
        render("".join(text), SCOPE, "query")
    except PlatintError as error:
        assert error.sentence()


_values = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text(), max_size=3)
)


@settings(max_examples=300, deadline=None)
@given(_values, st.sampled_from(["path", "query", "header", "url", "body"]), st.sampled_from(["", *FILTERS]))
def test_L10_any_value_in_any_slot(value: object, slot: Any, name: str) -> None:
    argument = ":x" if name in ("default", "join") else ""
    text = "/a/${record.v" + (f"|{name}{argument}" if name else "") + "}/b"
    try:
        got = render(text, {"record": {"v": value}}, slot)
    except PlatintError:
        return
    if slot == "path":
        assert got.isascii() and ".." not in got.split("/")
        # `segments` keeps the slashes of a value that is a path itself.
        assert got.count("/") == 3 or (name == "segments" and got.count("/") > 3)
    if slot == "header":
        assert got.isascii() and not any(char in got for char in "\r\n\0")
