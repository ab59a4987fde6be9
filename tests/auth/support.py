"""Manifests and contexts for tests of credentials, on top of the hostile server's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from platint_tui.manifest.loader import load_text
from platint_tui.manifest.schema import Connector
from tests.http.hostile import MANIFEST, Whole, merged

PLAIN: list[dict[str, Any]] = [
    {"id": "base_url", "type": "url", "required": True},
    {"id": "client", "default": "client-1"},
    {"id": "account"},
    {"id": "role"},
    {"id": "external"},
    {"id": "redirect_port", "type": "integer"},
]


def connector(auth: Mapping[str, Any], secrets: tuple[str, ...] = (), **changes: Any) -> Connector:
    """The hostile server's manifest with this auth, which uses these secret fields."""
    fields = [*PLAIN, *({"id": name, "secret": True} for name in secrets)]
    document = merged(MANIFEST, {"auth": Whole(auth), "profile": {"fields": fields}, **changes})
    return load_text(json.dumps(document), "hostile.yaml")
