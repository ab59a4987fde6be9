"""Limits that would limit nothing, or something else, are refused with their place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from platint_tui.core.errors import ConfigError
from platint_tui.manifest.loader import load_text
from tests.http.hostile import MANIFEST, merged

TRANSPORT = {"endpoints": {"files": {"base_url": "${profile.base_url}"}}}
BODY = {"available": "left", "cost": "cost"}


def load(*limits: dict[str, Any]) -> None:
    load_text(json.dumps(merged(MANIFEST, {"limits": list(limits), "transport": TRANSPORT})), "m.yaml")


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (
            [{"id": "a", "rate": "1/1s"}, {"id": "a", "rate": "2/1s"}],
            "limits[1].id: there are two limits called 'a'",
        ),
        (
            [{"id": "a", "match": {"resources": ["itmes"]}}],
            "there is no resource 'itmes'; did you mean 'items'?",
        ),
        ([{"id": "a", "match": {"endpoint": "fils"}}], "there is no endpoint 'fils'; did you mean 'files'?"),
        ([{"id": "a", "burst": 3}], "limits[0].burst: needs a rate"),
        ([{"id": "a", "headers": {"reset": "X-Reset"}}], "headers.reset: needs `remaining` or `usage`"),
        ([{"id": "a", "body": BODY, "headers": {"remaining": "X"}}], "goes without `remaining` and `usage`"),
        (
            [{"id": "a", "body": {**BODY, "restore_rate": "r", "per_second": 2.0}}],
            "goes without restore_rate",
        ),
    ],
)
def test_what_is_refused(limits: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(*limits)
    assert said in caught.value.sentence()


def test_what_is_accepted() -> None:
    load(
        {"id": "a", "rate": "1/1s", "burst": 2, "match": {"resources": ["items"], "endpoint": "files"}},
        {"id": "b", "headers": {"usage": "X", "reset": "Y"}},
        {"id": "c", "body": {**BODY, "per_second": 2.0}},
    )
