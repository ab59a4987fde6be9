"""Which addresses a credential goes to when a platform names them: in links, in redirects, for tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from platint_tui.core.errors import PlatintError
from tests.http.hostile import SECRET, Build, Hostile, Rig, Whole

KEY = {"type": "api_key", "secret": "key", "in": "header", "name": "X-Search-Key"}
NONE = {"type": "none"}
LINKS = Whole({"type": "link_body", "path": "next"})


def search(
    other: Hostile, auth: Mapping[str, Any], read: Mapping[str, Any], **transport: Any
) -> dict[str, Any]:
    """Changes to the manifest: another endpoint with its own auth; the items are still at the main one."""
    endpoints = {"search": {"base_url": f"{other.url}/v2", "auth": auth}}
    return {"transport": {"endpoints": endpoints, **transport}, "resources": {"items": {"read": read}}}


async def refused(rig: Rig) -> None:
    with pytest.raises(PlatintError) as caught:
        await rig.read()
    assert caught.value.code == "origin", caught.value


@pytest.mark.parametrize("auth", [KEY, NONE])
@pytest.mark.parametrize("listed", [False, True])
async def test_a_link_to_an_endpoint_with_another_credential(
    build: Build, hostile: Hostile, other: Hostile, auth: Mapping[str, Any], listed: bool
) -> None:
    hostile.json("/items", {"data": [{"id": 1}], "next": f"{other.url}/v2/x"})
    hosts = {"allowed_hosts": ["${profile.base_url}", f"127.0.0.1:{other.port}"]} if listed else {}
    await refused(build(search(other, auth, {"page": LINKS}, **hosts)))
    assert other.seen == []


@pytest.mark.parametrize("auth", [KEY, NONE])
@pytest.mark.parametrize("status", [302, 307])
async def test_a_redirect_to_an_endpoint_with_another_credential(
    build: Build, hostile: Hostile, other: Hostile, auth: Mapping[str, Any], status: int
) -> None:
    hostile.json("/items", {}, status=status, headers={"Location": f"{other.url}/v2/x"})
    await refused(build(search(other, auth, {})))
    assert other.seen == []


async def test_the_credential_of_an_endpoint_stays_there(
    build: Build, hostile: Hostile, other: Hostile
) -> None:
    read = {"request": {"endpoint": "search", "path": "/find"}, "page": LINKS}
    other.json("/v2/find", {"data": [], "next": f"{hostile.url}/items"})
    await refused(build(search(other, KEY, read)))
    other.json("/v2/find", {}, status=302, headers={"Location": f"{hostile.url}/items"})
    await refused(build(search(other, KEY, read)))
    assert hostile.seen == [] and all(seen.headers["x-search-key"] == SECRET for seen in other.seen)


async def test_an_extra_host_gets_the_credential_of_whoever_names_it(
    build: Build, hostile: Hostile, other: Hostile
) -> None:
    third = Hostile()
    await third.start()
    try:
        third.json("/more", {"data": [{"id": 2}]})
        read = {"request": {"endpoint": "search", "path": "/find"}, "page": LINKS}
        other.json("/v2/find", {"data": [{"id": 1}], "next": f"{third.url}/more"})
        hosts = ["${profile.base_url}", f"127.0.0.1:{third.port}"]
        rig = build(search(other, KEY, read, allowed_hosts=hosts))
        assert await rig.read() == [{"id": 1}, {"id": 2}]
        assert (
            third.seen[0].headers["x-search-key"] == SECRET and "authorization" not in third.seen[0].headers
        )
    finally:
        await third.stop()


async def test_an_endpoint_that_a_manifest_gains_later_gets_nothing(
    build: Build, hostile: Hostile, other: Hostile
) -> None:
    """The credential was entered for other addresses."""
    for auth in (KEY, None):
        read = {"request": {"endpoint": "search", "path": "/find"}}
        changes = search(other, auth or {}, read)
        if auth is None:
            del changes["transport"]["endpoints"]["search"]["auth"]
        await refused(build(changes, origins=(hostile.url,)))
    assert other.seen == [] == hostile.seen


TOKEN = {"access_token": "access-canary-1", "token_type": "bearer", "expires_in": 3600}


def by_token(other: Hostile) -> dict[str, Any]:
    auth = {
        "type": "oauth2",
        "grant": "client_credentials",
        "token_url": f"{other.url}/token",
        "client_id": "client",
        "client_secret": "key",
    }
    return {"auth": Whole(auth), "resources": {"items": {"read": {"page": LINKS}}}}


async def test_where_tokens_come_from_they_do_not_go(build: Build, hostile: Hostile, other: Hostile) -> None:
    other.json("/token", TOKEN)
    hostile.json("/items", {"data": [{"id": 1}], "next": f"{other.url}/take"})
    await refused(build(by_token(other)))
    hostile.json("/items", {}, status=302, headers={"Location": f"{other.url}/take"})
    await refused(build(by_token(other)))
    assert {seen.path for seen in other.seen} == {"/token"}


@pytest.mark.parametrize("status", [303, 307, 308])
async def test_the_clients_secret_does_not_go_to_the_platform(
    build: Build, hostile: Hostile, other: Hostile, status: int
) -> None:
    other.json("/token", {}, status=status, headers={"Location": f"{hostile.url}/take"})
    await refused(build(by_token(other)))
    assert hostile.seen == []


async def test_every_hop_of_a_read_is_counted(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", None, status=307, headers={"Location": "/b"})
    hostile.json("/b", None, status=302, headers={"Location": "/c"})
    hostile.json("/c", {"data": []})
    rig = build({"limits": [{"id": "all", "rate": "10/1s"}]})
    await rig.read()
    assert len(rig.limits.acquired) == len(hostile.seen) == 3
