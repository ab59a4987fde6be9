"""Google Cloud through its manifest: Storage is an emulator, the Resource Manager and Pub/Sub a server in the shapes of
Google's descriptions, which also gives out tokens for signed assertions."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from peers.gcs import GcsServer
from platforms.vendor import Account, Asked, Reply, Vendor, account, running

from platint_tui.core.errors import ConfigError, CredentialError

PROJECT, EMAIL = "shop-123456", "reader@shop-123456.iam.gserviceaccount.com"
TOPIC, SUBSCRIPTION = f"projects/{PROJECT}/topics/news", f"projects/{PROJECT}/subscriptions/all"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@pytest.fixture(scope="module")
def pem() -> str:
    """The private key of the service account."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    made = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.decode()


def bundle(pem: str, email: str = EMAIL) -> str:
    """The file that Google gives out for a service account."""
    return json.dumps(
        {"type": "service_account", "private_key_id": "k1", "private_key": pem, "client_email": email}
    )


class Google(Vendor):
    """1,200 projects over three pages, and the topics and subscriptions that were made."""

    def __init__(self, pem: str) -> None:
        super().__init__("gcp", "", ("/token", "/storage/*"), guard=self.signed_in)
        self.pem = pem
        self.projects = [self.project(n, f"2026-01-01T{n // 60:02}:{n % 60:02}:00Z") for n in range(1200)]
        self.topics: dict[str, Any] = {}
        self.subscriptions: dict[str, Any] = {}
        self.waiting: dict[str, dict[str, Any]] = {}
        self.grants: list[dict[str, str]] = []
        self.on("POST /token", self.token)
        self.on("GET /v3/projects:search", self.search)
        self.on(f"GET /v3/projects/{PROJECT}", {"name": "projects/1", "displayName": "Shop"})
        self.on("GET /v3/folders:search", {})
        self.on(f"GET /v1/projects/{PROJECT}/topics", lambda asked: {"topics": list(self.topics.values())})
        path = f"/v1/projects/{PROJECT}/subscriptions"
        self.on(f"GET {path}", lambda asked: {"subscriptions": list(self.subscriptions.values())})
        self.on(f"PUT /v1/projects/{PROJECT}/topics/{{name}}", self.make_topic)
        self.on(f"DELETE /v1/projects/{PROJECT}/topics/{{name}}", self.drop_topic)
        self.on(f"PUT {path}/{{name}}", self.subscribe)
        self.on(f"POST /v1/{TOPIC}:publish", self.publish)
        self.on(f"POST /v1/{SUBSCRIPTION}:pull", self.pull)
        self.on(f"POST /v1/{SUBSCRIPTION}:acknowledge", self.acknowledge)

    @staticmethod
    def project(number: int, updated: str) -> dict[str, Any]:
        return {"name": f"projects/{number}", "projectId": f"p-{number:06}", "updateTime": updated}

    @staticmethod
    def error(status: int, kind: str, message: str, **info: Any) -> Reply:
        found: dict[str, Any] = {"code": status, "status": kind, "message": message}
        if info:
            found["details"] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", **info}]
        return Reply({"error": found}, status)

    def signed_in(self, asked: Asked) -> Reply | None:
        if asked.path == "/token" or asked.headers.get("authorization") == "Bearer ya29.token":
            return None
        return self.error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")

    def token(self, asked: Asked) -> Reply:
        self.grants.append(asked.form)
        if "assertion" in asked.form:
            try:
                assertion = jwt.decode(
                    asked.form["assertion"], RSAKey.import_key(self.pem), algorithms=["RS256"]
                )
            except JoseError:
                return Reply({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, 400)
            claims = assertion.claims
            assert (
                claims["iss"] == EMAIL and claims["scope"] == SCOPE and claims["aud"] == f"{self.url}/token"
            )
            assert claims["exp"] - claims["iat"] <= 3600 and assertion.header["kid"] == "k1"
        return Reply({"access_token": "ya29.token", "expires_in": 3599, "token_type": "Bearer"})

    def search(self, asked: Asked) -> Any:
        start, size = int(asked.query.get("pageToken", "0")), int(asked.query["pageSize"])
        page: dict[str, Any] = {"projects": self.projects[start : start + size]}
        if start + size < len(self.projects):
            page["nextPageToken"] = str(start + size)
        return page

    def make_topic(self, asked: Asked, name: str) -> Any:
        full = f"projects/{PROJECT}/topics/{name}"
        if full in self.topics:
            return self.error(409, "ALREADY_EXISTS", "Resource already exists in the project.")
        self.topics[full] = {**asked.json, "name": full}
        return self.topics[full]

    def drop_topic(self, asked: Asked, name: str) -> Any:
        if self.topics.pop(f"projects/{PROJECT}/topics/{name}", None) is None:
            return self.error(404, "NOT_FOUND", "Resource not found.")
        return {}

    def subscribe(self, asked: Asked, name: str) -> Any:
        full = f"projects/{PROJECT}/subscriptions/{name}"
        self.subscriptions[full] = {**asked.json, "name": full}
        return self.subscriptions[full]

    def publish(self, asked: Asked) -> Any:
        made = []
        for message in asked.json["messages"]:
            made.append(str(len(self.waiting) + 1))
            self.waiting[f"ack-{made[-1]}"] = {**message, "messageId": made[-1]}
        return {"messageIds": made}

    def pull(self, asked: Asked) -> Any:
        assert asked.json["maxMessages"] == 1000
        found = [{"ackId": ack, "message": message} for ack, message in self.waiting.items()]
        return {"receivedMessages": found} if found else {}

    def acknowledge(self, asked: Asked) -> Any:
        for ack in asked.json["ackIds"]:
            self.waiting.pop(ack, None)
        return {}


@pytest.fixture
async def google(pem: str) -> AsyncIterator[Google]:
    async with running(Google(pem)) as vendor:
        assert isinstance(vendor, Google)
        yield vendor


def fields(google: Google, storage: str) -> dict[str, str]:
    addresses = {"base_url": google.url, "pubsub_url": google.url, "token_url": f"{google.url}/token"}
    return {**addresses, "project_id": PROJECT, "storage_url": storage, "files_bucket": "files"}


@pytest.fixture
async def reader(google: Google, gcs_server: GcsServer, pem: str) -> AsyncIterator[Account]:
    async with account("gcp", fields(google, gcs_server.url), {"service_account": bundle(pem)}) as opened:
        yield opened


async def test_projects_over_several_pages(reader: Account, google: Google) -> None:
    probes = await reader.check()
    assert all(probe.ok for probe in probes.values())
    assert probes["projects"].detail.endswith("p-000000") and probes["project"].detail.endswith("Shop")
    assert len({item["projectId"] for item in await reader.read(stream="projects")}) == 1200
    assert len(reader.pages) == 3
    position = reader.position
    assert await reader.read(position, "projects") == [] == await reader.read(stream="folders")
    google.projects[7] = google.project(7, "2026-02-01T00:00:00Z")
    assert [item["name"] for item in await reader.read(position, "projects")] == ["projects/7"]
    # One token for all endpoints would do, each has its own.
    assert 1 <= len(google.grants) <= 3


async def test_buckets_objects_and_rows_of_files(reader: Account) -> None:
    assert (await reader.write("buckets", "create", {"name": "files"})).written == 1
    rows = [
        {"name": "in/a b.csv", "content": "id,name\n1,Ada\n"},
        {"name": "c.ndjson", "content": '{"id": 2}\n'},
    ]
    result = await reader.write("storage.files", "upsert", *rows)
    assert result.written == 2 and result.responses[0]["id"].startswith("files/in/a b.csv")
    assert {"storage.files", "buckets"} <= await reader.streams()
    assert [item["name"] for item in await reader.read(stream="buckets")] == ["files"]
    assert {item["name"] for item in await reader.read(stream="storage.files")} == {
        row["name"] for row in rows
    }
    position = reader.position
    assert await reader.read(position, "storage.files") == []
    read = await reader.read(stream="storage_rows")
    assert sorted((row["storage_name"], str(row["id"])) for row in read) == [
        ("c.ndjson", "2"),
        ("in/a b.csv", "1"),
    ]
    assert (
        await reader.write("storage.files", "delete", {"name": "in/a b.csv"}, {"name": "nope"})
    ).written == 2
    assert [item["name"] for item in await reader.read(stream="storage.files")] == ["c.ndjson"]
    assert isinstance(await reader.refused("storage.nowhere"), ConfigError)


async def test_topics_subscriptions_and_messages(reader: Account, google: Google) -> None:
    made = await reader.write(
        "pubsub_topics", "create", {"topicId": "news", "labels": {"team": "shop"}}, {"topicId": "news"}
    )
    assert made.written == 1 and made.faults[0][1].code == "ALREADY_EXISTS"
    await reader.write("pubsub_subscriptions", "create", {"subscriptionId": "all", "topic": TOPIC})
    assert [item["name"] for item in await reader.read(stream="pubsub_topics")] == [TOPIC]
    assert await reader.read(stream="pubsub_messages") == []
    sent = [{"topic": TOPIC, "data": f"order {n} ü", "attributes": {"n": str(n)}} for n in range(3)]
    assert (await reader.write("pubsub_messages", "create", *sent)).written == 3
    messages = await reader.read(stream="pubsub_messages")
    assert {base64.b64decode(item["message"]["data"]).decode() for item in messages} == {
        row["data"] for row in sent
    }
    assert {item["subscription"] for item in messages} == {SUBSCRIPTION}
    assert (await reader.write("pubsub_messages", "delete", *messages)).written == 3
    assert google.waiting == {} and await reader.read(stream="pubsub_messages") == []
    assert (
        await reader.write("pubsub_topics", "delete", {"topicId": "news"}, {"topicId": "news"})
    ).written == 2


async def test_limits_and_refusals(reader: Account, google: Google) -> None:
    path = "/v3/projects:search"
    google.refuse(path, google.error(429, "RESOURCE_EXHAUSTED", "Quota exceeded."))
    assert len(await reader.read(stream="projects")) == 1200 and reader.waited(2)
    lacking = {"reason": "IAM_PERMISSION_DENIED", "metadata": {"permission": "resourcemanager.projects.get"}}
    google.refuse(
        path, google.error(403, "PERMISSION_DENIED", "The caller does not have permission", **lacking)
    )
    error = await reader.refused("projects")
    assert isinstance(error, CredentialError) and "resourcemanager.projects.get" in error.message
    disabled = {"reason": "SERVICE_DISABLED", "metadata": {"service": "pubsub.googleapis.com"}}
    google.refuse(path, google.error(403, "PERMISSION_DENIED", "It is disabled.", **disabled))
    error = await reader.refused("projects")
    assert isinstance(error, ConfigError) and "pubsub.googleapis.com" in error.message
    before = len(google.grants)
    google.refuse(path, google.error(401, "UNAUTHENTICATED", "The token has expired."))
    assert len(await reader.read(stream="projects")) == 1200 and len(google.grants) == before + 1


async def test_a_key_of_another_account_ends_the_run(google: Google, gcs_server: GcsServer) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = other.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    async with account("gcp", fields(google, gcs_server.url), {"service_account": bundle(pem)}) as stranger:
        probe = (await stranger.check())["projects"]
        assert not probe.ok and probe.error_class == "auth"
        assert isinstance(await stranger.refused("projects"), CredentialError)


async def test_the_refresh_token_of_gcloud(google: Google, gcs_server: GcsServer) -> None:
    wanted = {**fields(google, gcs_server.url), "sign_in": "refresh_token", "client_id": "c.apps"}
    async with account("gcp", wanted, {"client_secret": "cs", "refresh_token": "1//r"}) as opened:
        assert (await opened.check())["projects"].ok
    assert google.grants[0]["grant_type"] == "refresh_token" and google.grants[0]["refresh_token"] == "1//r"
