"""Several addresses of one platform: each with its headers and its credential, links and redirects between
them, and the address that comes with a token."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import pytest

from platint_tui.core.errors import ConfigError, PlatintError, SystemicError
from platint_tui.core.model import Environment, Profile
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.auth import Authorizer, Signed, Unsigned
from platint_tui.drivers.http.driver import HttpDriver
from platint_tui.drivers.http.origin import Origins
from platint_tui.manifest.loader import load_text
from tests.http.hostile import (
    MANIFEST,
    SECRET,
    Build,
    Hostile,
    Hurried,
    Limits,
    Notes,
    Rig,
    Whole,
    merged,
)


def two(other: Hostile, page: Mapping[str, Any] | None = None, **endpoint: Any) -> dict[str, Any]:
    """Changes to the manifest: the items are at another endpoint."""
    read: dict[str, Any] = {"request": {"endpoint": "search", "path": "/find"}}
    if page is not None:
        read["page"] = Whole(page)
    return {
        "transport": {
            "headers": {"X-Version": "1", "X-Kind": "main"},
            "endpoints": {"search": {"base_url": f"{other.url}/v2", **endpoint}},
        },
        "resources": {"items": {"read": read}},
    }


async def refused(rig: Rig) -> PlatintError:
    with pytest.raises(PlatintError) as caught:
        await rig.read()
    return caught.value


async def test_an_endpoint_has_its_own_address_headers_and_credential(
    build: Build, hostile: Hostile, other: Hostile
) -> None:
    other.json("/v2/find", {"data": [{"id": 1}]})
    key = {"type": "api_key", "secret": "key", "in": "header", "name": "X-Search-Key"}
    rig = build(two(other, headers={"X-Kind": "search"}, auth=key))
    assert await rig.read() == [{"id": 1}]
    headers = other.seen[0].headers
    assert headers["x-search-key"] == SECRET and "authorization" not in headers
    assert (headers["x-version"], headers["x-kind"]) == ("1", "search")
    assert hostile.seen == []


async def test_an_endpoint_without_an_auth_gets_the_platforms(build: Build, other: Hostile) -> None:
    other.json("/v2/find", {"data": []})
    await build(two(other)).read()
    assert other.seen[0].headers["authorization"] == f"Bearer {SECRET}"


async def test_next_links_keep_the_endpoint(build: Build, hostile: Hostile, other: Hostile) -> None:
    other.json(
        "/v2/find",
        {"data": [{"id": 1}], "links": [{"rel": "self", "href": "?p=1"}, {"rel": "next", "href": "?p=2"}]},
        {"data": [{"id": 2}], "links": [{"rel": "next", "href": f"{other.url}/v2/find?p=3&key=abc"}]},
        {"data": [{"id": 3}], "links": []},
    )
    key = {"type": "api_key", "secret": "key", "in": "query", "name": "Key"}
    page = {"type": "link_body", "path": "links", "rel": "next"}
    rig = build(two(other, page, headers={"X-Kind": "search"}, auth=key))
    assert [item["id"] for item in await rig.read()] == [1, 2, 3]
    assert all(seen.headers["x-kind"] == "search" and seen.query["Key"] == SECRET for seen in other.seen)
    # The credential of this endpoint is taken out of its links, however it is written.
    assert other.seen[2].query == {"p": "3", "Key": SECRET}
    assert SECRET not in json.dumps([page.position for page in rig.pages])
    other.json("/v2/find", {"data": [{"id": 9}], "links": []})
    assert await rig.read(json.loads(json.dumps(rig.pages[0].position))) == [{"id": 9}]
    assert hostile.seen == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_between_endpoints_are_followed(
    build: Build, hostile: Hostile, other: Hostile, status: int
) -> None:
    other.json("/v2/find", {}, status=status, headers={"Location": f"{hostile.url}/there"})
    hostile.json("/there", {"data": [{"id": 1}]})
    assert await build(two(other)).read() == [{"id": 1}]
    assert hostile.seen[0].headers["authorization"] == f"Bearer {SECRET}"


async def test_a_redirect_to_a_host_for_downloads_takes_no_credential(
    build: Build, hostile: Hostile, other: Hostile
) -> None:
    hostile.json("/items", {}, status=302, headers={"Location": f"{other.url}/file?sig=1"})
    other.json("/file", {"data": [{"id": 1}]})
    headers = {"X-Custom": "mine"}
    changes = {"transport": {"download_hosts": [f"127.0.0.1:{other.port}"], "headers": headers}}
    assert await build(changes).read() == [{"id": 1}]
    assert set(other.seen[0].headers) <= {"accept", "accept-encoding", "user-agent", "host", "connection"}
    assert other.seen[0].target == "/file?sig=1"


@pytest.mark.parametrize("status", [307, 308])
async def test_a_body_is_not_sent_to_a_host_for_downloads(
    build: Build, hostile: Hostile, other: Hostile, status: int
) -> None:
    hostile.json("/items", {}, status=status, headers={"Location": f"{other.url}/file"})
    changes = {
        "transport": {"download_hosts": [f"127.0.0.1:{other.port}"]},
        "resources": {"items": {"read": {"request": {"method": "POST", "body": {"x": 1}}}}},
    }
    assert (await refused(build(changes))).code == "origin"
    assert other.seen == []


async def test_303_after_a_post_asks_with_get(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {}, status=303, headers={"Location": "/there"})
    hostile.json("/there", {"data": [{"id": 1}]})
    changes = {"resources": {"items": {"read": {"request": {"method": "POST", "body": {"x": 1}}}}}}
    assert await build(changes).read() == [{"id": 1}]
    assert hostile.seen[1].method == "GET" and hostile.seen[1].body == b""
    assert "content-type" not in hostile.seen[1].headers


async def test_the_first_address_whose_values_are_there_is_used(
    build: Build, hostile: Hostile, other: Hostile
) -> None:
    base = ["${profile.search_url}", "${profile.base_url}"]
    changes = two(other)
    changes["transport"]["endpoints"]["search"]["base_url"] = base
    changes["profile"] = {"fields": [*MANIFEST["profile"]["fields"], {"id": "search_url", "type": "url"}]}
    hostile.json("/find", {"data": [{"id": "main"}]})
    other.json("/find", {"data": [{"id": "other"}]})
    assert await build(changes).read() == [{"id": "main"}]
    assert await build(changes, fields={"search_url": other.url}).read() == [{"id": "other"}]


async def test_the_endpoint_must_be_among_those_the_credential_was_entered_for(
    build: Build, hostile: Hostile, other: Hostile
) -> None:
    """A manifest that gets another endpoint later does not take the credential there."""
    hostile.json("/items", {"data": [], "next": None})
    page = {"type": "link_body", "path": "next"}
    changes = two(other)
    changes["resources"] = {"items": {"read": {"page": Whole(page)}}}
    hostile.json("/items", {"data": [], "next": f"{other.url}/v2/find"})
    assert (await refused(build(changes, origins=(hostile.url,)))).code == "origin"
    assert other.seen == []


# --- wildcards -------------------------------------------------------------------------------------------

WILD = [
    ("https://a.example.com/x", True),
    ("https://a.b.EXAMPLE.com/x", True),
    ("https://example.com/x", False),
    ("https://a.example.com:8443/x", False),
    ("http://a.example.com/x", False),
    ("https://a.example.com.evil.org/x", False),
    ("https://evilexample.com/x", False),
    ("https://a.example.com@evil.org/x", False),
]


@pytest.mark.parametrize(("link", "good"), WILD)
def test_wildcards_of_hosts(link: str, good: bool) -> None:
    origins = Origins("https://login.org", ["https://login.org:443"], wildcards=["*.example.com"])
    downloads = Origins("https://login.org", ["https://login.org:443"], downloads=["*.example.com"])
    if good:
        assert origins.follow("https://login.org/", link, "next page") == link
        assert origins.check(link, "address") == link
        assert downloads.download("https://login.org/", link, "download") == (link, False)
    else:
        with pytest.raises(SystemicError):
            origins.follow("https://login.org/", link, "next page")
        with pytest.raises(ConfigError):
            origins.check(link, "address")
        with pytest.raises(SystemicError):
            downloads.download("https://login.org/", link, "download")
    with pytest.raises(SystemicError):
        downloads.follow("https://login.org/", link, "next page")
    assert origins.download("https://login.org/", "/x", "download") == ("https://login.org/x", True)


# --- an address that comes with a token ------------------------------------------------------------------


class Named(Authorizer):
    """A credential whose token names the address of the API."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.prepared = 0

    async def sign(self, request: Unsigned) -> Signed:
        return Signed(request.url, {**request.headers, "authorization": "Bearer t"})

    def base_url(self) -> str | None:
        return self._url if self.prepared else None

    async def prepare(self) -> None:
        self.prepared += 1


def named(hostile: Hostile, url: str, *hosts: str) -> HttpDriver:
    changes = {"transport": {"allowed_hosts": list(hosts)}}
    connector = load_text(json.dumps(merged(MANIFEST, changes)), "hostile.yaml")
    profile = Profile("p", "hostile", Environment.DEVELOPMENT, {"base_url": hostile.url}, {})
    context = DriverContext(
        connector, profile, {"key": Secret(SECRET)}, Limits(), Notes(), Hurried(), random.Random(7)
    )
    return HttpDriver(context, auth=Named(url))


async def test_the_token_names_the_address(hostile: Hostile, other: Hostile) -> None:
    other.json("/api/items", {"data": [{"id": 1}]})
    driver = named(hostile, f"{other.url}/api", f"127.0.0.1:{other.port}")
    pages = [page async for page in driver.read("items", None)]
    await driver.close()
    assert [record.value for page in pages for record in page.records] == [{"id": 1}]
    assert hostile.seen == []


async def test_the_token_cannot_name_a_stranger(hostile: Hostile, other: Hostile) -> None:
    driver = named(hostile, other.url)
    with pytest.raises(ConfigError) as caught:
        [page async for page in driver.read("items", None)]
    await driver.close()
    assert caught.value.code == "origin" and other.seen == []


def test_a_wildcard_that_came_later_gets_no_credential() -> None:
    base, extra = "https://api.example.com:443", "https://a.files.example.com:443"
    wide = Origins("https://api.example.com", [base], wildcards=["*.files.example.com"])
    assert wide.permits(extra)
    entered = Origins("https://api.example.com", [base], [base], wildcards=["*.files.example.com"])
    assert not entered.permits(extra)
    both = Origins(
        "https://api.example.com", [base], [base, "*.files.example.com"], wildcards=["*.files.example.com"]
    )
    assert both.permits(extra)
