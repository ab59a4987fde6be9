"""The connectors that ship with the program: valid, explained, tested offline, and described for editors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from platint_tui.core.errors import ConfigError, NotFound
from platint_tui.drivers.http.replay import run_vector
from platint_tui.manifest import jsonschema
from platint_tui.manifest.explain import explain
from platint_tui.manifest.loader import load_text
from platint_tui.manifest.registry import Registry, bundled_dir, default_dirs, resource
from platint_tui.manifest.vectors import check_code, check_vectors, load_vector_text, vector_of

REGISTRY = Registry([bundled_dir("connectors")])
PLATFORMS = ("demo-chat", "demo-crm", "demo-payments", "github", "postgresql", "sqlite", "stripe")
TESTS = [
    (platform, test)
    for platform in PLATFORMS
    for test in REGISTRY.get(platform).tests
    if test.kind != "webhook"  # tests/webhooks
]


def test_every_bundled_connector_is_listed_and_valid() -> None:
    assert set(PLATFORMS) <= set(REGISTRY.list())
    for platform in REGISTRY.list():
        connector = REGISTRY.get(platform)
        assert check_vectors(connector, REGISTRY.vectors(platform)) == []


@pytest.mark.parametrize(("platform", "test"), TESTS, ids=[f"{p}-{t.name}" for p, t in TESTS])
async def test_connector_vectors(platform: str, test: Any) -> None:
    connector = REGISTRY.get(platform)
    if test.code is not None:
        assert check_code(connector, test) == ()
        return
    outcome = await run_vector(connector, test, vector_of(test, REGISTRY.vectors(platform)))
    assert outcome.failures == ()


def test_every_vector_file_is_used() -> None:
    for platform in PLATFORMS:
        folder = REGISTRY.vectors(platform)
        used = {test.exchange for test in REGISTRY.get(platform).tests if test.exchange}
        assert {path.name for path in folder.glob("*")} == used


def test_no_code_under_connectors_and_profiles() -> None:
    for kind in ("connectors", "profiles"):
        assert {path.suffix for path in bundled_dir(kind).rglob("*") if path.is_file()} <= {".yaml", ".json"}


def test_the_json_schema_is_fresh() -> None:
    path = bundled_dir("connectors") / jsonschema.FILE
    assert path.read_text() == jsonschema.schema_text(), "run: python -m platint_tui.manifest.jsonschema"


def test_the_json_schema_is_written_where_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert jsonschema.main([str(tmp_path / "x" / "s.json")]) == 0
    assert json.loads((tmp_path / "x" / "s.json").read_text())["$defs"]["Resource"]
    assert "s.json" in capsys.readouterr().out


def test_the_json_schema_knows_every_key_of_the_bundled_connectors() -> None:
    schema = jsonschema.connector_schema()
    for platform in PLATFORMS:
        data = yaml.safe_load(REGISTRY.path(platform).read_text())
        assert _unknown(schema, schema, data) == []


def _unknown(root: dict[str, Any], schema: Any, data: Any, path: str = "") -> list[str]:
    """Keys of `data` that no branch of the schema has."""
    if not isinstance(schema, dict):
        return []
    if "$ref" in schema:
        return _unknown(root, root["$defs"][schema["$ref"].rpartition("/")[2]], data, path)
    branches = schema.get("anyOf") or schema.get("oneOf")
    if branches:
        return min((_unknown(root, branch, data, path) for branch in branches), key=len)
    if isinstance(data, dict):
        if schema.get("type") != "object":
            return [path] if "type" in schema else []
        found = []
        for name, value in data.items():
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties", {}))
            found += [f"{path}.{name}"] if inner is False else _unknown(root, inner, value, f"{path}.{name}")
        return found
    if isinstance(data, list) and schema.get("type") == "array":
        return [item for value in data for item in _unknown(root, schema.get("items"), value, path)]
    return []


def test_explain_tells_where_each_value_comes_from() -> None:
    found = {item.key: item for item in explain(REGISTRY.path("stripe"), "stripe", "subscriptions")}
    lines = REGISTRY.path("stripe").read_text().splitlines()
    path = found["read.request.path"]
    assert path.value == "/v1/subscriptions" and path.origin.endswith("(resource)")
    assert "/v1/subscriptions" in lines[int(path.origin.split(":")[1].split()[0]) - 1]
    lag = found["read.cursor.lag"]
    assert lag.value == "1m" and lag.origin.endswith("(defaults)")
    assert found["read.page.repeat_guard"] == ("read.page.repeat_guard", True, "(schema)")
    assert found["read.request.query.limit"].value == 100
    with pytest.raises(NotFound, match="did you mean 'charges'"):
        explain(REGISTRY.path("stripe"), "stripe", "charge")
    with pytest.raises(ConfigError):
        explain(REGISTRY.path("stripe"), "github", "charges")


def test_registry_order_and_errors(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    text = REGISTRY.path("demo-chat").read_text()
    (own / "demo-chat.yaml").write_text(text.replace("name: Demo chat", "name: My chat"))
    (own / "_hidden.yaml").write_text("x")
    (own / "wrong.yaml").write_text(text)
    (own / "bad.yaml").write_text(text.replace("driver: http", "driver: htp"))
    registry = Registry(default_dirs(own, tmp_path / "none", {}))
    assert registry.get("demo-chat").name == "My chat"
    assert registry.get("demo-crm").name == "Demo CRM"
    assert "_hidden" not in registry.list()
    with pytest.raises(NotFound, match="did you mean 'github'"):
        registry.get("gitub")
    for name in ("../demo-chat", "Demo-Chat", "", "a/b", "x" * 300):
        with pytest.raises(NotFound):
            registry.get(name)
    with pytest.raises(ConfigError, match="for the platform 'demo-chat'"):
        registry.get("wrong")
    with pytest.raises(ConfigError, match=r"bad\.yaml:\d+:\d+: driver"):
        registry.get("bad")
    (own / "demo-chat.yaml").write_text(text.replace("name: Demo chat", "name: Changed chat"))
    assert registry.get("demo-chat").name == "Changed chat"


def test_the_current_folder_is_never_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "connectors").mkdir()
    (tmp_path / "connectors" / "evil.yaml").write_text("x: 1")
    monkeypatch.chdir(tmp_path)
    dirs = default_dirs(None, None, {"PLATINT_HOME": str(tmp_path / "home")})
    assert tmp_path / "connectors" not in [item.resolve() for item in dirs]
    with pytest.raises(ConfigError, match="is not there"):
        default_dirs(tmp_path / "missing", None, {})
    with pytest.raises(ConfigError, match="PLATINT_CONNECTORS"):
        default_dirs(None, None, {"PLATINT_CONNECTORS": str(tmp_path / "missing")})


def test_an_introspected_platform_answers_every_name() -> None:
    assert resource(REGISTRY.get("sqlite"), "anything").write is not None
    with pytest.raises(NotFound):
        resource(REGISTRY.get("github"), "anything")


def test_vectors_are_checked() -> None:
    good = (
        "exchanges:\n  - request: {path: /a, query: {n: 1}}\n    response: {status: 200, json: {data: []}}\n"
    )
    vector = load_vector_text(good)
    assert vector.exchanges[0].request.query == {"n": "1"}
    assert json.loads(vector.exchanges[0].response.body) == {"data": []}
    for text, expected in (
        (good.replace("status", "statu"), "did you mean 'status'"),
        (good.replace("200", "99"), "must be at least 100"),
        (good.replace("json: {data: []}", "json: {}, body: x"), "both body and json"),
        (good.replace("json: {data: []}", "body: 'sk_live_abcdefgh'"), "looks like a credential"),
        ("exchanges: []", "is empty"),
        ("- a", "a map of keys"),
    ):
        with pytest.raises(ConfigError) as caught:
            load_vector_text(text)
        assert expected in caught.value.message


def test_a_connector_of_databases_has_no_http_parts() -> None:
    text = REGISTRY.path("sqlite").read_text()
    with pytest.raises(ConfigError, match="signs in with auth of type driver"):
        load_text(text.replace("auth: {type: driver}", "auth: {type: none}"))
    with pytest.raises(ConfigError, match="does not use this"):
        load_text(text + "transport: {base_url: 'https://x.example'}\n")
    with pytest.raises(ConfigError, match="needs a listing"):
        load_text(text.replace("discover: {type: introspect}", "discover: {type: static}"))


def test_importing_the_package_loads_neither_pydantic_nor_yaml() -> None:
    code = (
        "import sys, platint_tui.manifest, platint_tui.manifest.loader, platint_tui.manifest.registry,"
        " platint_tui.manifest.template, platint_tui.manifest.form, platint_tui.manifest.integration,"
        " platint_tui.manifest.mapping, platint_tui.manifest.vectors, platint_tui.manifest.explain;"
        "print([name for name in ('pydantic', 'yaml', 'httpx', 'platformdirs') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
