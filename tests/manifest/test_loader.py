# ruff: noqa: E501 - messages are quoted whole
from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifest.samples import MANIFEST

from platint_tui.core.errors import ConfigError, ExitCode, NotFound
from platint_tui.manifest.explain import explain
from platint_tui.manifest.loader import load_connector, load_text, resource
from platint_tui.manifest.problems import FileError
from platint_tui.manifest.registry import Registry


def broken(*edits: tuple[str, str]) -> list[str]:
    """The lines of the error after replacing texts of the sample."""
    text = MANIFEST
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    with pytest.raises(FileError) as caught:
        load_text(text, "s.yaml")
    assert caught.value.exit_code == ExitCode.CONFIG
    return caught.value.message.splitlines()


def only(*edits: tuple[str, str]) -> str:
    lines = broken(*edits)
    assert len(lines) == 1, lines
    return lines[0]


def test_the_sample_is_typed_and_merged() -> None:
    connector = load_text(MANIFEST)
    items = resource(connector, "items")
    assert items.key == ("id",)
    assert items.read is not None and items.read.request.query == {"limit": 100}
    assert items.read.request.path == "/items"
    assert items.read.cursor is not None and items.read.cursor.lag == 60.0
    assert resource(connector, "parts").read.cursor is None  # type: ignore[union-attr]
    assert connector.limits[0].rate == (100, 1.0)
    assert connector.errors.policy.base == 0.1
    assert connector.errors.rules[0].class_ == "rate_limited"
    status = connector.errors.rules[1].when.status
    assert status is not None and status.matches(503) and not status.matches(501) and not status.matches(429)
    with pytest.raises(NotFound, match="did you mean 'items'"):
        resource(connector, "item")


def test_maps_merge_deep_lists_replace_and_types_replace() -> None:
    text = MANIFEST.replace(
        "request: {path: /items}\n",
        "request: {path: /items, query: {sort: up, limit: null}}\n      page: {type: offset, size: 50}\n    key: [a, b]\n    notes: [n]\n    estimate: false\n",
    ).replace("      cursor: {field: updated, type: iso8601, start_param: since, lag: 1m}\n", "")
    items = load_text(text).resources["items"]
    assert items.read is not None
    assert items.read.request.query == {"sort": "up"}
    assert items.read.page.type == "offset"
    assert items.key == ("a", "b")


def test_a_write_only_resource_is_not_made_readable_by_the_defaults() -> None:
    text = MANIFEST.replace("tests:", "  sink:\n    write: {create: {path: /sink}}\ntests:")
    sink = load_text(text).resources["sink"]
    assert sink.read is None
    assert sink.write is not None and sink.write.create is not None and sink.write.create.body == "${record}"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "auth: {type: bearer, secret: api_key}",
            "auth: {type: bearer, secrt: api_key}",
            "s.yaml:13:22: auth.secrt: unknown key; did you mean 'secret'?",
        ),
        (
            "auth: {type: bearer,",
            "auth: {type: barer,",
            "s.yaml:13:14: auth.type: 'barer' is not none, bearer, basic, api_key, oauth2, jwt_exchange, aws_sigv4, azure_shared_key, azure_sas, servicebus_sas, oauth1, driver or first_of; did you mean 'bearer'?",
        ),
        (
            "auth: {type: bearer, secret: api_key}",
            "auth: {secret: api_key}",
            "s.yaml:13:7: auth.type: is missing",
        ),
        (
            "driver: http\n",
            "driver: htp\n",
            "s.yaml:7:9: driver: 'htp' is no driver; did you mean 'http'?",
        ),
        (
            "driver: http\n",
            "driver: http\nzzz: 1\n",
            "s.yaml:8:1: zzz: unknown key (known here: auth, category, check,",
        ),
        (
            "burst: 10",
            "burst: ten",
            "s.yaml:18:37: limits[0].burst: must be a whole number, not the text 'ten'",
        ),
        (
            "base: 100ms",
            "base: 5",
            "s.yaml:20:31: errors.policy.base: 5 has no unit; write a duration like 30s, 5m, 1h30m or P7D",
        ),
        ("base: 100ms", "base: -5s", "s.yaml:20:31: errors.policy.base: must be a duration above zero"),
        (
            "rate: 100/1s",
            "rate: 100",
            "s.yaml:18:22: limits[0].rate: 100 has no unit; write a rate like 100/1s or 500/10m",
        ),
        (
            "[429]",
            "[42]",
            "s.yaml:22:23: errors.rules[0].when.status: '42' is no HTTP status; write 429, '500-599' or '!404'",
        ),
        (
            "action: retry",
            "action: retri",
            "s.yaml:23:86: errors.rules[1].action: 'retri' is not retry, wait,",
        ),
        (
            "version: 1.2.3",
            "version: 1.2",
            "s.yaml:4:10: version: must be text, not the number 1.2; write it in quotes: '1.2'",
        ),
        ("    records: data\n", "", "s.yaml:34:7: resources.items.read.records: is missing"),
        (
            "records: data",
            "recrods: data",
            "s.yaml:30:5: defaults.read.recrods: unknown key; did you mean 'records'?",
        ),
        ("platform: sample", "platform: Sample", "s.yaml:2:11: platform: 'Sample' is not allowed here"),
        (
            "manifest: 1",
            "manifest: 2",
            "s.yaml:1:11: manifest: this is version 2; this program knows 1: update platint-tui",
        ),
        ("manifest: 1", "manifest: yes", "s.yaml:1:11: manifest: 'yes' is not 1"),
        (
            "required: true, pattern",
            "required: yes, pattern",
            "s.yaml:12:45: profile.fields[2].required: must be true or false, not the text 'yes'",
        ),
        (
            "lag: 1m",
            "lag: 1 month",
            "s.yaml:36:72: resources.items.read.cursor.lag: '1 month' is not a duration",
        ),
    ],
)
def test_L12_unknown_keys_typos_and_types_with_line_and_column(old: str, new: str, expected: str) -> None:
    lines = broken((old, new))
    assert any(line.startswith(expected) for line in lines), lines


def test_all_problems_of_a_file_come_at_once_in_order() -> None:
    lines = broken(
        ("name: Sample", "nam: Sample"),
        ("burst: 10", "burst: 0"),
        ("secret: api_key", "secret: 5"),
        ("type: cursor", "type: curser"),
    )
    assert [line.split(":")[1] for line in lines] == sorted((line.split(":")[1] for line in lines), key=int)
    joined = "\n".join(lines)
    for part in (
        "nam: unknown key; did you mean 'name'?",
        "name: is missing",
        "limits[0].burst: must be at least 1",
        "auth.secret",
        "did you mean 'cursor'",
    ):
        assert part in joined
    # The default is wrong once, however many resources are made from it.
    assert joined.count("'curser'") == 1


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        (
            [("base_url: '${profile.base_url}'", "base_url: '${profile.bas_url}'")],
            "the profile has no field 'bas_url'; did you mean 'base_url'?",
        ),
        (
            [("secret: api_key", "secret: api_kee")],
            "the profile has no field 'api_kee'; did you mean 'api_key'?",
        ),
        (
            [("secret: api_key}", "secret: account}")],
            "the profile field 'account' must be marked `secret: true`",
        ),
        ([("optional: true", "optional: true, required: true")], "required or optional, not both"),
        ([("required: true, pattern", "default: x, pattern")], "a secret has no default"),
        ([("'^sk_'", "'(a+)+'")], "a group holds literal alternatives only"),
        (
            [("base_url: '${profile.base_url}'", "base_url: 'x${profile.base_url}'")],
            "must begin with https://, or with ${profile.<field>}",
        ),
        (
            [
                ("base_url: '${profile.base_url}'", "base_url: 'https://${profile.account}.example.com'"),
                ("{id: account, optional: true}", "{id: account, required: true}"),
            ],
            "'account' stands in the host: give the field choices, or a pattern",
        ),
        (
            [
                ("base_url: '${profile.base_url}'", "base_url: 'https://${profile.account}.example.com'"),
                ("{id: account, optional: true}", "{id: account, required: true, pattern: '^[a-z.:]+$'}"),
            ],
            "'account' stands in the host",
        ),
        (
            [
                ("base_url: '${profile.base_url}'", "base_url: '${profile.account}'"),
                ("{id: account, optional: true}", "{id: account, required: true}"),
            ],
            "the profile field 'account' must be of type url",
        ),
        (
            [
                ("base_url: '${profile.base_url}'", "base_url: 'https://${profile.account}.example.com'"),
                ("{id: account, optional: true}", "{id: account, pattern: '^[a-z-]+$'}"),
            ],
            "none of its forms is there for every profile",
        ),
        (
            [("base_url: '${profile.base_url}'", "base_url: {production: 'https://api.example.com'}")],
            "none of its forms is there for every profile",
        ),
        ([("['${profile.base_url}']", "['*.com']")], "is too wide"),
        ([("['${profile.base_url}']", "['https://api.example.com']")], "is not a host"),
        (
            [("type: url, required: true", "required: true")],
            "the profile field 'base_url' must be of type url",
        ),
        ([("type: url, required: true", "type: url")], "must be required or have a default"),
        ([("base_url: '${profile.base_url}'", "base_url: http://example.com")], "Plain http"),
        ([("{path: /me}", "{path: me}")], "a path begins with one '/'"),
        ([("{path: /me}", "{path: /me?x=1}")], "parameters go under query"),
        ([("{path: /me}", "{path: /a/%2e%2E/b}")], "a path holds no '.' and no '..'"),
        ([("request: {path: /me}", "open: true")], "check[0]: needs a request"),
        ([("{id: me,", "{id: me, optional: true,")], "at least one probe must not be optional"),
        (
            [("  key: [id]\n", "")],
            "resources.items.key: is missing: name the fields that identify a record, or write `key: []`",
        ),
        (
            [("parent: {resource: items}", "parent: {resource: itms}")],
            "there is no resource 'itms'; did you mean 'items'?",
        ),
        ([("    parent: {resource: items}\n", "")], "uses ${parent.…}, but `parent` is missing"),
        ([("parent: {resource: items}", "parent: {resource: parts}")], "goes round in a circle"),
        ([("{limit: 100}", "{after: 1}")], "is set by `page`; remove it here"),
        ([("{limit: 100}", "{limit: '${record.x}'}")], "'record' is not known here"),
        ([("{limit: 100}", "{limit: '${run.kee}'}")], "'run.kee' is not known; did you mean 'run.item_key'?"),
        ([("{limit: 100}", "{limit: '${profile.a'}")], "is not closed"),
        ([("status: [429]", "body: {path: x}, code: ['1']")], "codes are for other drivers"),
        ([("action: retry", "action: refresh_auth")], "refresh_auth needs auth that can be renewed"),
        ([("when: {status: [429]}", "when: {}")], "says nothing"),
        (
            [("wait: {header: retry-after, cap: 5m}", "then: fail_run"), ("action: wait", "action: ignore")],
            "goes with retry, wait or refresh_auth",
        ),
        ([("resource: items, exchange", "resource: itms, exchange")], "there is no resource 'itms'"),
        ([("expect: {records: 1}", "expect: {}")], "a read test says how many records"),
    ],
)
def test_lint(edits: list[tuple[str, str]], expected: str) -> None:
    lines = broken(*edits)
    assert any(expected in line for line in lines), lines


def test_tests_are_compulsory() -> None:
    with pytest.raises(ConfigError, match="every manifest ships tests"):
        load_text(MANIFEST[: MANIFEST.index("tests:")])


@pytest.mark.parametrize(
    "place",
    [
        ("{limit: 100}", "{limit: 100, key: '${profile.api_key}'}"),
        ("base_url: '${profile.base_url}'", "base_url: '${profile.base_url}/${profile.api_key}'"),
        ("request: {path: /items}", "request: {path: '/items/${profile.api_key | base64}'}"),
        ("request: {path: /items}", "request: {path: /items, headers: {X-Key: '${profile.api_key}'}}"),
        ("{path: /me}", "{path: '/me/${ profile.api_key }'}"),
    ],
)
def test_L9_a_secret_is_used_in_auth_only(place: tuple[str, str]) -> None:
    assert any("'api_key' is a secret: it is used in auth only" in line for line in broken(place))


def test_L9_oauth_token_url_takes_no_secret() -> None:
    auth = "auth: {type: oauth2, grant: client_credentials, token_url: '${profile.base_url}/t/${profile.api_key}', client_id: account, client_secret: api_key}"
    assert any("is a secret" in line for line in broken(("auth: {type: bearer, secret: api_key}", auth)))


def test_L11_the_token_endpoint_is_an_address_of_the_manifest_only() -> None:
    auth = "auth: {type: oauth2, grant: client_credentials, token_url: 'https://${profile.account}/t', client_id: account, client_secret: api_key}"
    lines = broken(
        ("auth: {type: bearer, secret: api_key}", auth),
        ("{id: account, optional: true}", "{id: account, required: true}"),
    )
    assert any("'account' stands in the host" in line for line in lines)
    plain = auth.replace("https://${profile.account}/t", "http://login.example.com/t")
    assert "Plain http" in only(("auth: {type: bearer, secret: api_key}", plain))


def test_a_secret_in_the_wrong_place_is_not_repeated() -> None:
    line = "\n".join(broken(("driver: http", "driver: sk_live_abcdef0123456789")))
    assert "looks like a credential" in line
    assert "abcdef" not in line


def test_escapes_in_a_manifest_do_not_reach_the_terminal() -> None:
    line = "\n".join(broken(("driver: http", 'driver: "a\u202eb"')))
    assert "\u202e" not in line


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(MANIFEST.replace("manifest: 1", "manfest: 1"))
    with pytest.raises(ConfigError) as caught:
        load_connector(path)
    assert str(caught.value).splitlines()[0].startswith(f"{path}:1:1: ")
    path.write_text("- a\n")
    with pytest.raises(ConfigError, match="a manifest is a map"):
        load_connector(path)
    path.write_text("")
    with pytest.raises(ConfigError):
        load_connector(path)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


def _paths(data: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else []
    return [path, *(found for key, value in items for found in _paths(value, (*path, key)))]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_value_anywhere_gives_a_connector_or_a_config_error(data: st.DataObject) -> None:
    from platint_tui.manifest.yamltext import parse

    document = parse(MANIFEST).data
    where = data.draw(st.sampled_from([path for path in _paths(document) if path]))
    inside = document
    for part in where[:-1]:
        inside = inside[part]
    if data.draw(st.booleans()):
        inside[where[-1]] = data.draw(_json)
    else:
        inside.pop(where[-1])
    try:
        load_text(json.dumps(document))
    except ConfigError as error:
        assert error.sentence()


SHARED = """\
profile:
  fields:
    - {id: base_url, type: url, required: true}
    - {id: api_key, secret: true, required: true}
auth: {type: bearer, secret: api_key}
errors:
  rules:
    - {when: {status: [429]}, class: rate_limited, action: wait}
    - {when: {status: ['500-599']}, class: transient, action: retri}
"""
EXTENDING = """\
manifest: 1
extends: house
platform: sample
name: Sample
version: 1.0.0
category: other
docs: https://example.com
driver: http
transport: {base_url: '${profile.base_url}'}
check: [{id: me, request: {path: /me}}]
resources:
  items: {key: [id], read: {request: {path: /items}, records: data, page: {type: none}}}
tests: [{name: one, kind: read, resource: items, exchange: one.yaml, expect: {records: 1}}]
"""


def test_a_manifest_extends_a_shared_part(tmp_path: Path) -> None:
    (tmp_path / "_shared").mkdir()
    (tmp_path / "_shared" / "house.yaml").write_text(SHARED.replace("retri", "retry"))
    path = tmp_path / "sample.yaml"
    path.write_text(EXTENDING)
    registry = Registry([tmp_path])
    connector = registry.get("sample")
    assert connector.auth.type == "bearer" and len(connector.errors.rules) == 2
    lines = {item.key: item.origin for item in explain(path, "sample", "items")}
    assert lines["read.records"] == "sample.yaml:12 (resource)"
    # The shared part is written anew: what was loaded is not used again.
    (tmp_path / "_shared" / "house.yaml").write_text(
        SHARED.replace("retri", "retry") + "  policy: {attempts: 9}\n"
    )
    assert registry.get("sample").errors.policy.attempts == 9


def test_a_problem_of_a_shared_part_is_told_with_its_own_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "_shared").mkdir()
    (tmp_path / "_shared" / "house.yaml").write_text(SHARED)
    path = tmp_path / "sample.yaml"
    path.write_text(EXTENDING)
    with pytest.raises(ConfigError) as caught:
        load_connector(path, "sample.yaml")
    assert caught.value.message.startswith("_shared/house.yaml:9:")
    assert "errors.rules[1].action" in caught.value.message


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nowhere", "there is no _shared/nowhere.yaml beside the manifest"),
        ("../house", "must be the name of a file of _shared"),
        ("chained", "that extends nothing itself"),
    ],
)
def test_what_cannot_be_extended(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / "_shared").mkdir()
    (tmp_path / "house.yaml").write_text(SHARED)
    (tmp_path / "_shared" / "chained.yaml").write_text("extends: house\n")
    path = tmp_path / "sample.yaml"
    path.write_text(EXTENDING.replace("extends: house", f"extends: {name}"))
    with pytest.raises(ConfigError, match=expected):
        load_connector(path, "sample.yaml")
