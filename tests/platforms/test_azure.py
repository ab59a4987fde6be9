"""Azure through its manifest: a server in the shapes of Microsoft's description; its Blob Storage is Azurite."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwt
from joserfc.jwk import RSAKey
from peers.azurite import AzuriteServer
from platforms.vendor import Account, Asked, Reply, Vendor, account, running

from platint_tui.core.errors import CredentialError

TENANT, CLIENT, SECRET, TOKEN = "contoso.onmicrosoft.com", "11111111-2222", "s~ecret", "eyJ0.token"
FIELDS = {"tenant_id": TENANT, "client_id": CLIENT}
DAY = 86_400


class Azure(Vendor):
    """Two subscriptions; 250 resource groups in the first, over three pages; an activity log."""

    def __init__(self) -> None:
        super().__init__("azure", "", ("/*/oauth2/v2.0/token", "/"), guard=self.signed_in)
        self.groups = [f"group{number:03}" for number in range(250)]
        self.resources = [self.resource(number, f"2026-01-0{number}T00:00:00Z") for number in range(1, 4)]
        self.tokens: list[dict[str, str]] = []
        names = ("s1", "s2")
        found = [
            {"id": f"/subscriptions/{name}", "subscriptionId": name, "displayName": name} for name in names
        ]
        self.on("GET /subscriptions", {"value": found, "nextLink": ""})
        self.on(
            "GET /tenants", {"value": [{"id": "/tenants/t1", "tenantId": "t1", "displayName": "Contoso"}]}
        )
        self.on("POST /{tenant}/oauth2/v2.0/token", self.token)
        self.on("GET /subscriptions/{name}/resourcegroups", self.group_page)
        self.on("PUT /subscriptions/s1/resourcegroups/{name}", self.put_group)
        self.on("DELETE /subscriptions/s1/resourcegroups/{name}", self.delete_group)
        self.on("GET /subscriptions/{name}/resources", self.list_resources)
        path = "/subscriptions/{name}/providers/Microsoft.Insights/eventtypes/management/values"
        self.on(f"GET {path}", self.log)
        self.on("POST /providers/Microsoft.ResourceGraph/resources", self.graph)

    @staticmethod
    def resource(number: int, changed: str) -> dict[str, Any]:
        return {"id": f"/r/{number}", "name": f"r{number}", "type": "Shop/carts", "changedTime": changed}

    def signed_in(self, asked: Asked) -> Reply | None:
        if asked.path.endswith("/token") or asked.headers.get("authorization") == f"Bearer {TOKEN}":
            return None
        return self.error(401, "InvalidAuthenticationToken", "The access token is invalid.")

    @staticmethod
    def error(status: int, code: str, message: str) -> Reply:
        return Reply({"error": {"code": code, "message": message}}, status)

    def token(self, asked: Asked, tenant: str) -> Reply:
        assert tenant == TENANT
        self.tokens.append(asked.form)
        if asked.form.get("client_secret", SECRET) != SECRET:
            return Reply({"error": "invalid_client", "error_description": "AADSTS7000215: wrong secret"}, 401)
        return Reply({"token_type": "Bearer", "expires_in": 3599, "access_token": TOKEN})

    def group_page(self, asked: Asked, name: str) -> Any:
        every = self.groups if name == "s1" else []
        start = int(asked.query.get("$skiptoken", "0"))
        base = f"/subscriptions/{name}/resourcegroups"
        value = [
            {"id": f"{base}/{item}", "name": item, "location": "westeurope"} for item in every[start:][:100]
        ]
        if start + 100 >= len(every):
            return {"value": value}
        return {
            "value": value,
            "nextLink": f"{self.url}{base}?api-version=2021-04-01&%24skiptoken={start + 100}",
        }

    def put_group(self, asked: Asked, name: str) -> Reply:
        if asked.json["location"] == "mars":
            return self.error(
                400, "LocationNotAvailableForResourceGroup", "The location 'mars' is not available."
            )
        self.groups.append(name)
        made = {"id": f"/subscriptions/s1/resourcegroups/{name}", "name": name}
        return Reply({**made, "location": asked.json["location"]}, 201)

    def delete_group(self, asked: Asked, name: str) -> Reply:
        if name not in self.groups:
            return self.error(404, "ResourceGroupNotFound", f"Resource group '{name}' could not be found.")
        self.groups.remove(name)
        return Reply(None, 202)

    def list_resources(self, asked: Asked, name: str) -> Any:
        assert "changedTime" in asked.query["$expand"]
        return {"value": self.resources if name == "s1" else []}

    @staticmethod
    def log(asked: Asked, name: str) -> Any:
        words = asked.query["$filter"].split("'")
        event = {"eventDataId": f"{name}-{words[1]}", "eventTimestamp": words[1], "level": "Informational"}
        return {"value": [event] if name == "s1" else []}

    @staticmethod
    def graph(asked: Asked) -> Any:
        name = asked.json["subscriptions"][0]
        after = asked.json["options"].get("$skipToken")
        page = {"totalRecords": 2, "count": 1, "resultTruncated": "false"}
        data = [{"id": f"/{name}/{after or 'first'}"}]
        return {**page, "data": data} if after else {**page, "data": data, "$skipToken": "second"}


@pytest.fixture
async def azure() -> AsyncIterator[Azure]:
    async with running(Azure()) as vendor:
        assert isinstance(vendor, Azure) and vendor.description is not None
        yield vendor
        # What is in a next link is Microsoft's own affair; the description does not name it.
        wrong = vendor.description.wrong
        vendor.description.wrong = [item for item in wrong if "$skiptoken" not in item]


@pytest.fixture
async def app(azure: Azure) -> AsyncIterator[Account]:
    async with account("azure", addresses(azure), {"client_secret": SECRET}) as opened:
        yield opened


def addresses(azure: Azure) -> dict[str, str]:
    return {**FIELDS, "base_url": azure.url, "login_url": azure.url}


async def test_pages_of_every_subscription(app: Account, azure: Azure) -> None:
    probes = await app.check()
    assert probes["subscriptions"].ok and probes["tenants"].ok
    assert {"resource_groups", "resource_graph", "blob_containers"} <= await app.streams()
    groups = await app.read(stream="resource_groups")
    assert [item["name"] for item in groups] == azure.groups
    assert len(azure.asked("GET /subscriptions/s1/resourcegroups")) == 3
    graph = [item["id"] for item in await app.read(stream="resource_graph")]
    assert graph == ["/s1/first", "/s1/second", "/s2/first", "/s2/second"]
    scopes = [asked["scope"] for asked in azure.tokens]
    assert scopes == ["https://management.azure.com/.default", "https://storage.azure.com/.default"]


async def test_only_what_has_changed(app: Account, azure: Azure) -> None:
    assert len(await app.read(stream="resources")) == 3
    position = app.position
    assert await app.read(position, "resources") == []
    azure.resources[0] = azure.resource(1, "2026-02-01T00:00:00Z")
    assert [item["name"] for item in await app.read(position, "resources")] == ["r1"]


async def test_the_activity_log_goes_through_its_days_in_windows(app: Account, azure: Azure) -> None:
    events = await app.read(stream="activity_log")
    path = "GET /subscriptions/s1/providers/Microsoft.Insights/eventtypes/management/values"
    assert len(azure.asked(path)) == 13  # 89 days in windows of seven
    assert len({item["eventDataId"] for item in events}) == 13


async def test_groups_are_written_and_deleted(app: Account, azure: Azure) -> None:
    row = {"subscriptionId": "s1", "name": "new", "location": "westeurope"}
    result = await app.write("resource_groups", "upsert", row, {**row, "name": "far", "location": "mars"})
    assert result.written == 1 and result.responses[0]["id"].endswith("/new")
    assert result.faults[0][1].code == "LocationNotAvailableForResourceGroup"
    gone = {"subscriptionId": "s1", "name": "nope"}
    assert (await app.write("resource_groups", "delete", row, gone)).written == 2
    assert "new" not in azure.groups


async def test_limits_and_refusals(app: Account, azure: Azure) -> None:
    path = "/subscriptions/s1/resourcegroups"
    busy = azure.error(429, "SubscriptionRequestsThrottled", "Number of requests exceeded the limit.")
    azure.refuse(path, Reply(busy.body, 429, {"Retry-After": "17"}))
    assert len(await app.read(stream="resource_groups")) == 250 and app.waited(17)
    said = "The client 'ada' does not have authorization to perform action 'Microsoft.Resources/read'."
    azure.refuse(path, azure.error(403, "AuthorizationFailed", said))
    error = await app.refused("resource_groups")
    assert isinstance(error, CredentialError) and "Microsoft.Resources/read" in error.message
    azure.refuse(path, azure.error(401, "ExpiredAuthenticationToken", "The access token has expired."))
    assert len(await app.read(stream="resource_groups")) == 250 and len(azure.tokens) == 2


async def test_a_wrong_secret_ends_the_run(azure: Azure) -> None:
    async with account("azure", addresses(azure), {"client_secret": "wrong"}) as stranger:
        probe = (await stranger.check())["subscriptions"]
        assert not probe.ok and probe.error_class == "auth"
        assert isinstance(await stranger.refused("subscriptions"), CredentialError)


async def test_an_app_signs_in_by_its_certificate(azure: Azure) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "app")])
    start = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=1))
    certificate = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    fields = {**addresses(azure), "sign_in": "certificate"}
    async with account("azure", fields, {"private_key": pem, "certificate": certificate}) as opened:
        assert (await opened.check())["subscriptions"].ok
    assertion = azure.tokens[0]["client_assertion"]
    audience = f"{azure.url}/{TENANT}/oauth2/v2.0/token"
    token = jwt.decode(assertion, RSAKey.import_key(pem), algorithms=["PS256"])
    assert token.claims["iss"] == token.claims["sub"] == CLIENT and token.claims["jti"]
    assert token.claims["aud"] == audience and token.header["x5t#S256"]


async def test_blobs_of_the_same_profile(azure: Azure, azurite_server: AzuriteServer) -> None:
    """Two endpoints, each with a credential of its own."""
    blob = {"storage_account": azurite_server.account, "blob_url": azurite_server.url}
    secrets = {"client_secret": SECRET, "storage_key": azurite_server.key}
    async with account("azure", {**addresses(azure), **blob}, secrets) as opened:
        assert all(probe.ok for probe in (await opened.check()).values())
        await opened.write("blob_containers", "create", {"Name": "shared"})
        assert (await opened.write("blobs.shared", "upsert", {"Name": "a", "Content": "x"})).written == 1
        assert "blobs.shared" in await opened.streams()
        assert [item["Name"] for item in await opened.read(stream="blobs.shared")] == ["a"]
    assert not any("SharedKey" in json.dumps(dict(asked.headers)) for asked in azure.seen)
