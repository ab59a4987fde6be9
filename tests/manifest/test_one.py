"""What is wrong in `one`, the request for a single record, is found where it stands."""

from __future__ import annotations

import pytest
from engine import hooks

from platint_tui.core.errors import ConfigError
from platint_tui.manifest.loader import load_text

GOOD = "one: {request: {path: '/items/${record.id}'}}"


def manifest(one: str, resource: str = "items") -> str:
    return hooks.MANIFEST.replace(
        f"  {resource}:\n    key: [id]\n", f"  {resource}:\n    key: [id]\n    {one}\n", 1
    )


def test_one_record_is_asked_for_by_what_an_event_says() -> None:
    one = load_text(manifest(GOOD)).resources["items"].one
    assert one is not None
    assert one.missing.matches(404) and one.missing.matches(410) and not one.missing.matches(403)


@pytest.mark.parametrize(
    ("one", "resource", "said"),
    [
        ("one: {request: {path: /items}}", "items", "is the same for every record"),
        ("one: {request: {path: '/items/${parent.id}'}}", "items", "'parent' is not known here"),
        ("one: {request: {path: '/items/${record.id}?x=1'}}", "items", "a path holds no"),
        ("one: {request: {path: '/items/${record.id}', body: {}}}", "items", "a GET request has no body"),
        (GOOD, "notes", "needs `read`"),
        ("one: {request: {path: '/${record.id}'}, gone: [404]}", "items", "gone"),
    ],
)
def test_what_is_wrong_is_found(one: str, resource: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(manifest(one, resource))
    assert said in caught.value.sentence()


def test_what_no_event_brings_needs_no_request() -> None:
    text = manifest(GOOD)
    kept = [line for line in text.splitlines() if "resource: items" not in line]
    with pytest.raises(ConfigError) as caught:
        load_text("\n".join(kept))
    assert "no entry of `webhooks.map` brings any" in caught.value.sentence()
