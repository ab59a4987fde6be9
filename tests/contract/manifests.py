"""Manifests as plain data, with defaults and shared parts merged, and where their requests go."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from contract.specs.view import HOLE, HOLES

from platint_tui.manifest.loader import load_connector

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "connectors"
HERE = Path(__file__).resolve().parent
SPECS = ROOT.parent / "shared" / "vendors" / "specs"
"""The vendors' full descriptions, where they are there."""

EXPRESSION = re.compile(r"\$\{([^}]*)\}")
Data = dict[str, Any]


def platforms() -> list[str]:
    """The manifests that speak to a vendor over HTTP and are listed in sources.yaml."""
    return [name for name in sources() if (FOLDER / f"{name}.yaml").is_file()]


def sources() -> dict[str, Any]:
    """sources.yaml: the descriptions of each platform."""
    loaded: dict[str, Any] = yaml.safe_load((HERE / "sources.yaml").read_text())
    return loaded


def manifest(platform: str) -> Data:
    """A manifest as data, with every default filled in."""
    path = FOLDER / f"{platform}.yaml"
    data: Data = load_connector(path).model_dump(by_alias=True, mode="python")
    return data


def expressions(text: str) -> Iterator[tuple[str, ...]]:
    """The lookups `${a.b | filter}` in a text, as their names."""
    for found in EXPRESSION.finditer(text):
        yield tuple(found.group(1).split("|")[0].strip().split("."))


def is_literal(value: Any) -> bool:
    """Whether a value of the manifest is sent as it is written."""
    return not (isinstance(value, str) and "${" in value)


def holed(text: str, fields: Mapping[str, Any] | None = None) -> str:
    """A template with each lookup replaced by the mark for what is not known: one that may be several segments
    of a path by a mark of its own, or by the default that the profile's field has.
    """

    def mark(found: re.Match[str]) -> str:
        name, *filters = (part.strip() for part in found.group(1).split("|"))
        if "segments" not in filters:
            return HOLE
        default = (fields or {}).get(name.removeprefix("profile."), {}).get("default")
        return str(default) if default and name.startswith("profile.") else HOLES

    return EXPRESSION.sub(mark, text)


@dataclass(frozen=True, slots=True)
class Base:
    """Where requests go: the host (`*`: any; `\\x01` for a part that the profile says) and the path before theirs."""

    host: str
    path: str


def bases(data: Data, endpoint: str | None) -> list[Base]:
    """The addresses that the manifest itself knows for an endpoint (None: the default one)."""
    transport = data["transport"]
    address = transport["endpoints"][endpoint]["base_url"] if endpoint else transport["base_url"]
    fields = {item["id"]: item for item in data["profile"]["fields"]}
    if endpoint and len(address) > 1 and any(_known(item, fields) for item in address[:-1]):
        # The default address at the end only makes the endpoint usable where nobody has one for it.
        address = [item for item in address if item not in transport["base_url"]]
    found: list[Base] = []
    for item in address:
        for text in item.values() if isinstance(item, Mapping) else (item,):
            full = _with_defaults(text, fields)
            if full is not None:
                parts = urlsplit(holed(full).replace(HOLE, "\ue000"))
                base = Base(
                    (parts.netloc or "*").replace("\ue000", HOLE),
                    parts.path.rstrip("/").replace("\ue000", HOLE),
                )
                if base not in found:
                    found.append(base)
    return found or [Base("*", _common_tail(address))]


def _known(item: Any, fields: Mapping[str, Any]) -> bool:
    """Whether the manifest itself knows the host of an address."""
    texts = item.values() if isinstance(item, Mapping) else (item,)
    return any(_with_defaults(text, fields) is not None for text in texts)


def _with_defaults(text: str, fields: Mapping[str, Any]) -> str | None:
    """A template with an address that the profile defaults to; None when only the profile knows the host."""
    found = EXPRESSION.match(text)
    if found is None:
        return text
    name = found.group(1).split("|")[0].strip().removeprefix("profile.")
    field = fields.get(name, {})
    if not field.get("default"):
        return None
    return f"{field['default']}{text[found.end() :]}"


def _common_tail(address: Any) -> str:
    """The path behind an address that only the profile knows: `/api/v4` of `${profile.base_url}/api/v4`."""
    for item in address:
        for text in item.values() if isinstance(item, Mapping) else (item,):
            found = EXPRESSION.match(text)
            if found:
                return holed(text[found.end() :]).rstrip("/")
    return ""


def requests(data: Data) -> Iterator[tuple[str, Data]]:
    """Every request of a manifest with its place there."""
    for number, probe in enumerate(data["check"]):
        if probe["request"]:
            yield f"check.{number}.request", probe["request"]
    discover = data["discover"]
    if discover["request"]:
        yield "discover.request", discover["request"]
    for number, listing in enumerate(discover["listings"]):
        yield f"discover.listings.{number}.request", listing["request"]
    from contract.looked import own

    for name, resource in data["resources"].items():
        resource = own(resource, name)
        place = f"resources.{name}"
        if resource["read"]:
            yield f"{place}.read.request", resource["read"]["request"]
            for word in ("poll", "results", "abort"):
                if resource["read"]["page"].get(word):
                    yield f"{place}.read.page.{word}", resource["read"]["page"][word]
        if resource["one"]:
            yield f"{place}.one.request", resource["one"]["request"]
        for word, operation in (resource["write"] or {}).items():
            # A sink's driver makes its requests itself.
            if isinstance(operation, dict) and not resource["sink"]:
                yield f"{place}.write.{word}", operation
        if resource["describe"] and resource["describe"]["request"]:
            yield f"{place}.describe.request", resource["describe"]["request"]
    webhooks = data["webhooks"] or {}
    for number, way in enumerate(webhooks.get("subscribe") or ()):
        for word in ("prepare", "create", "secret_request", "pause", "resume", "remove", "renew"):
            if way[word]:
                yield f"webhooks.subscribe.{number}.{word}", way[word]
        for word in ("list", "address"):
            if way[word]:
                yield f"webhooks.subscribe.{number}.{word}.request", way[word]["request"]
    for number, way in enumerate(webhooks.get("missed") or ()):
        for word in ("request", "redeliver"):
            if way[word]:
                yield f"webhooks.missed.{number}.{word}", way[word]
