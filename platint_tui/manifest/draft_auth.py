"""Ways to sign in out of the security schemes of an OpenAPI document, and the API's address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

from platint_tui.core.model import Json
from platint_tui.manifest.draft_text import sentence
from platint_tui.manifest.openapi import Api

_MOST_WAYS = 4
_MOST_SCOPES = 20
_READS = re.compile(r"read|view|list|get", re.IGNORECASE)
_SANDBOX = re.compile(r"sandbox|staging|test|localhost|127\.0\.0\.1", re.IGNORECASE)
NO_ADDRESS = "https://api.example.com"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to sign in, with the profile fields that it needs and what a person must decide."""

    auth: dict[str, Json]
    fields: tuple[dict[str, Json], ...] = ()
    notes: tuple[str, ...] = field(default=())


def address_of_api(api: Api, source: str) -> tuple[str, list[str]]:
    """The API's base URL, and what to decide. `source` is where the document came from when that is a URL."""
    found = [_server(item) for item in _servers(api)]
    found = [urljoin(source, url) if source else url for url in found if url]
    usable = [url for url in found if urlsplit(url).scheme in ("http", "https") and urlsplit(url).hostname]
    if not usable:
        return NO_ADDRESS, ["the document names no address of the API"]
    chosen = next((url for url in usable if not _SANDBOX.search(url)), usable[0]).rstrip("/")
    others = [url for url in dict.fromkeys(usable) if url.rstrip("/") != chosen]
    notes = [f"the document also names {', '.join(others[:3])}"] if others else []
    parts = urlsplit(chosen)
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        chosen = "https" + chosen[4:]
        notes.append("the document says http; credentials go over https only")
    return chosen, notes


def _servers(api: Api) -> list[Json]:
    if api.version == 2:
        host, base = api.document.get("host"), api.document.get("basePath") or ""
        schemes = api.document.get("schemes") or ["https"]
        scheme = "https" if not isinstance(schemes, list) or "https" in schemes else str(schemes[0])
        return [{"url": f"{scheme}://{host}{base}"}] if isinstance(host, str) and host else []
    servers = api.document.get("servers")
    return servers if isinstance(servers, list) else []


def _server(item: Json) -> str:
    url = item.get("url") if isinstance(item, Mapping) else None
    if not isinstance(url, str):
        return ""
    variables = item.get("variables")
    for name, variable in variables.items() if isinstance(variables, Mapping) else ():
        default = variable.get("default") if isinstance(variable, Mapping) else None
        url = url.replace(f"{{{name}}}", str(default or "")) if default else url
    return "" if "{" in url or any(char.isspace() for char in url) else url


def auth_of(api: Api, base_url: str) -> tuple[dict[str, Json], list[dict[str, Json]], list[str]]:
    """The `auth` of a manifest, its profile fields, and what to decide."""
    ways: list[Way] = []
    skipped: list[str] = []
    for name, scheme in _schemes(api):
        way = _way(scheme, base_url)
        if way is None:
            skipped.append(f"the scheme '{name}' ({scheme.get('type')}) cannot be used as it is")
        elif all(_same(way, other) is False for other in ways) and len(ways) < _MOST_WAYS:
            ways.append(way)
    if not ways:
        why = "the document names no way to sign in that can be used: none, bearer, basic, api_key …"
        return {"type": "none"}, [], [*skipped, why]
    notes = [*skipped, *(note for way in ways for note in way.notes)]
    if len(ways) == 1:
        fields = [{**item, "required": True} for item in ways[0].fields]
        return dict(ways[0].auth), fields, notes
    fields = list({item["id"]: item for way in ways for item in way.fields}.values())
    labels = [{**way.auth, "label": _label(way.auth)} for way in ways]
    return {"type": "first_of", "of": [{"auth": auth} for auth in labels]}, fields, notes


def _same(way: Way, other: Way) -> bool:
    """Whether two ways ask for the same fields: the second could never be chosen."""
    mine, others = ({item["id"] for item in one.fields} for one in (way, other))
    return others <= mine


def _label(auth: Mapping[str, Json]) -> str:
    words = {"bearer": "Token", "basic": "User and password", "api_key": "API key"}
    return words.get(str(auth["type"]), f"OAuth 2 ({str(auth.get('grant', '')).replace('_', ' ')})")


def _schemes(api: Api) -> list[tuple[str, Mapping[str, Json]]]:
    """The security schemes, those that the whole API asks for first."""
    components = api.document.get("components")
    found = components.get("securitySchemes") if isinstance(components, Mapping) else None
    if not isinstance(found, Mapping):
        found = api.document.get("securityDefinitions")
    if not isinstance(found, Mapping):
        return []
    security = api.document.get("security")
    wanted = (
        [name for item in security if isinstance(item, Mapping) for name in item]
        if isinstance(security, list)
        else []
    )
    names = [name for name in wanted if name in found] or [str(name) for name in found]
    return [(name, api.resolve(found[name])) for name in dict.fromkeys(names)]


def _secret(id: str, label: str, help: str = "") -> dict[str, Json]:
    return {"id": id, "label": label, "secret": True, **({"help": help} if help else {})}


def _way(scheme: Mapping[str, Json], base_url: str) -> Way | None:
    kind, said = scheme.get("type"), sentence(scheme.get("description"))
    how = str(scheme.get("scheme", "")).lower()
    if kind == "basic" or (kind == "http" and how == "basic"):
        fields = ({"id": "username", "label": "User name"}, _secret("password", "Password", said))
        return Way({"type": "basic", "username": "username", "password": "password"}, fields)
    if kind == "http" and how == "bearer":
        return Way({"type": "bearer", "secret": "token"}, (_secret("token", "Token", said),))
    if kind == "apiKey" and scheme.get("in") in ("header", "query") and isinstance(scheme.get("name"), str):
        name = scheme["name"]
        auth = {"type": "api_key", "secret": "api_key", "in": scheme["in"], "name": name}
        notes: tuple[str, ...] = ()
        if name.lower() == "authorization":
            auth["prefix"] = "Bearer "
            notes = ("what stands before the key in the Authorization header: Bearer, Bot, Token, nothing",)
        return Way(auth, (_secret("api_key", "API key", said),), notes)
    if kind == "oauth2":
        return _oauth(scheme, base_url)
    if kind == "openIdConnect":
        note = "how the token is got: a token that was made elsewhere is used"
        return Way({"type": "bearer", "secret": "token"}, (_secret("token", "Access token", said),), (note,))
    return None


def _oauth(scheme: Mapping[str, Json], base_url: str) -> Way | None:
    flows = scheme.get("flows")
    if not isinstance(flows, Mapping):
        names = {"application": "clientCredentials", "accessCode": "authorizationCode"}
        named = str(scheme.get("flow", ""))
        flows = {names.get(named, named): scheme}
    client = ({"id": "client_id", "label": "Client ID"}, _secret("client_secret", "Client secret"))
    common = {"client_id": "client_id", "client_secret": "client_secret"}
    flow = flows.get("authorizationCode")
    if (
        isinstance(flow, Mapping)
        and _url(flow, "tokenUrl", base_url)
        and _url(flow, "authorizationUrl", base_url)
    ):
        auth = {
            "type": "oauth2",
            "grant": "authorization_code",
            "authorize_url": _url(flow, "authorizationUrl", base_url),
            "token_url": _url(flow, "tokenUrl", base_url),
            **common,
            **_scopes(flow),
        }
        return Way(
            auth, client, ("which scopes are asked for, and whether a refresh token works once (rotates)",)
        )
    flow = flows.get("clientCredentials")
    if isinstance(flow, Mapping) and _url(flow, "tokenUrl", base_url):
        auth = {
            "type": "oauth2",
            "grant": "client_credentials",
            "token_url": _url(flow, "tokenUrl", base_url),
            **common,
        }
        return Way(auth, client, ("whether scopes are asked for (scopes: […])",))
    note = "how the token is got: this flow is not used any more, so one that was made elsewhere is used"
    return Way({"type": "bearer", "secret": "token"}, (_secret("token", "Access token"),), (note,))


def _scopes(flow: Mapping[str, Json]) -> dict[str, Json]:
    scopes = flow.get("scopes")
    names = [name for name in scopes if isinstance(name, str)] if isinstance(scopes, Mapping) else []
    reading = [name for name in names if _READS.search(name) and 0 < len(name) <= 200 and name.isprintable()]
    return {"scopes": reading[:_MOST_SCOPES]} if reading else {}


def _url(flow: Mapping[str, Json], name: str, base_url: str) -> str:
    """An address of the flow as a template: a relative one belongs to the API's own host."""
    found = flow.get(name)
    if not isinstance(found, str) or not found or any(char in found for char in " {}\n\t\\"):
        return ""
    if found.startswith("/") and not urlsplit(base_url).path:
        return "${profile.base_url}" + found
    url = urljoin(base_url + "/", found)
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        url = "https" + url[4:]
    return url if parts.hostname else ""
