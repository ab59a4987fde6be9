"""Jira Cloud through its manifest, against a server in Jira's shapes whose account lives twelve hours behind UTC."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from platforms.vendor import Account, Asked, Reply, Vendor, account, running

from platint_tui.core.errors import CredentialError, ErrorClass, RateLimited

EMAIL, TOKEN = "ada@example.com", "ATATT-0123456789-api-token"
SITE = {"site": "acme", "email": EMAIL}
ZONE = timezone(timedelta(hours=-12))
START = datetime(2026, 2, 1, 10, 0, tzinfo=UTC)


def issue(number: int, at: datetime) -> dict[str, Any]:
    updated = at.astimezone(ZONE).strftime("%Y-%m-%dT%H:%M:%S.000%z")
    return {
        "id": str(10_000 + number),
        "key": f"OPS-{number}",
        "fields": {"summary": "x", "updated": updated},
    }


class Jira(Vendor):
    """Pages of two issues by token, of two projects by offset; JQL reads times in the account's zone."""

    def __init__(self) -> None:
        super().__init__("jira", guard=self.signed_in)
        self.issues = {
            n: (START + timedelta(minutes=n), issue(n, START + timedelta(minutes=n))) for n in range(1, 6)
        }
        self.on("GET /rest/api/3/myself", {"accountId": "a1", "displayName": "Ada"})
        self.on("GET /rest/api/3/serverInfo", {"serverTitle": "Acme Jira", "version": "1001.0.0"})
        self.on("GET /rest/api/3/auditing/record", Reply({"errorMessages": ["Only administrators."]}, 403))
        self.on(
            "GET /rest/agile/1.0/board",
            {"startAt": 0, "maxResults": 50, "total": 0, "isLast": True, "values": []},
        )
        self.on("GET /rest/api/3/search/jql", self.search)
        self.on("GET /rest/api/3/project/search", self.projects)
        self.on("GET /rest/api/3/issue/{id}/comment", self.comments)
        self.on(
            "GET /rest/api/3/field", [{"id": "customfield_1", "name": "Points", "schema": {"type": "number"}}]
        )
        self.on("POST /rest/api/3/issue/bulk", self.create)
        self.on("DELETE /rest/api/3/issue/{key}", self.delete)

    def signed_in(self, asked: Asked) -> Reply | None:
        expected = base64.b64encode(f"{EMAIL}:{TOKEN}".encode()).decode()
        if asked.headers.get("authorization") == f"Basic {expected}":
            return None
        return Reply(
            "Client must be authenticated to access this resource.", 401, {"Content-Type": "text/html"}
        )

    def search(self, asked: Asked) -> Any:
        jql = asked.query["jql"]
        found = re.fullmatch(r'updated >= ("(\d{4}/\d\d/\d\d \d\d:\d\d)"|-1d) ORDER BY updated ASC', jql)
        assert found, jql
        since = datetime.strptime(found[2] or "1970/01/01 00:00", "%Y/%m/%d %H:%M").replace(tzinfo=ZONE)
        every = [item for at, item in sorted(self.issues.values(), key=lambda pair: pair[0]) if at >= since]
        start = int(asked.query.get("nextPageToken", "0"))
        page = every[start : start + 2]
        more = {"nextPageToken": str(start + 2)} if start + 2 < len(every) else {}
        return {"issues": page, **more}

    def projects(self, asked: Asked) -> Any:
        every = [{"id": str(n), "key": f"P{n}", "name": f"Project {n}"} for n in range(1, 4)]
        start = int(asked.query["startAt"])
        page = every[start : start + 2]
        return {"startAt": start, "maxResults": 2, "total": 3, "isLast": start + 2 >= 3, "values": page}

    def comments(self, asked: Asked, id: str) -> Any:
        if asked.query["startAt"] != "0":
            return {"startAt": 1, "maxResults": 50, "total": 1, "comments": []}
        return {
            "startAt": 0,
            "maxResults": 50,
            "total": 1,
            "comments": [{"id": f"c{id}", "body": {"type": "doc"}}],
        }

    def create(self, asked: Asked) -> Reply:
        made, errors = [], []
        for place, item in enumerate(asked.json["issueUpdates"]):
            if "summary" not in item["fields"]:
                wrong = {"errorMessages": [], "errors": {"summary": "You must specify a summary."}}
                errors.append({"status": 400, "elementErrors": wrong, "failedElementNumber": place})
                continue
            number = max(self.issues) + 1
            at = START + timedelta(minutes=40)
            self.issues[number] = (at, issue(number, at))
            made.append({"id": str(10_000 + number), "key": f"OPS-{number}"})
        return Reply({"issues": made, "errors": errors}, 201 if made else 400)

    def delete(self, asked: Asked, key: str) -> Reply:
        if self.issues.pop(int(key.removeprefix("OPS-")), None) is None:
            return Reply({"errorMessages": ["Issue does not exist."], "errors": {}}, 404)
        return Reply(None, 204)


@pytest.fixture
async def jira() -> AsyncIterator[Jira]:
    async with running(Jira()) as vendor:
        assert isinstance(vendor, Jira)
        yield vendor


@pytest.fixture
async def ada(jira: Jira) -> AsyncIterator[Account]:
    async with account("jira", {**SITE, "base_url": jira.url}, {"api_token": TOKEN}) as opened:
        yield opened


async def test_check_and_discovery(ada: Account) -> None:
    found = await ada.check()
    assert found["myself"].ok and "Ada" in found["myself"].detail and found["issues"].ok
    assert not found["audit"].ok and found["audit"].optional
    streams = {item.name: item for item in await ada.driver.discover()}
    assert {"issues", "comments", "boards", "sprints", "audit_records"} <= set(streams)
    assert "fields.customfield_1" in {item.name for item in streams["issues"].fields}


async def test_issues_full_then_what_is_new_in_any_time_zone(jira: Jira, ada: Account) -> None:
    assert [item["key"] for item in await ada.read(stream="issues")] == [f"OPS-{n}" for n in range(1, 6)]
    assert jira.seen[1].query["nextPageToken"] == "2"
    position = ada.position
    assert await ada.read(position, "issues") == []
    at = START + timedelta(minutes=30)
    jira.issues[2] = (at, issue(2, at))
    assert [item["key"] for item in await ada.read(position, "issues")] == ["OPS-2"]


async def test_pages_shorter_than_asked_for(ada: Account) -> None:
    assert [item["key"] for item in await ada.read(stream="projects")] == ["P1", "P2", "P3"]


async def test_comments_know_their_issue(ada: Account) -> None:
    found = await ada.read(stream="comments")
    assert [(item["issue_key"], item["id"]) for item in found][:1] == [("OPS-1", "c10001")] and len(
        found
    ) == 5


async def test_issues_are_made_together_and_deleted(jira: Jira, ada: Account) -> None:
    task = {"project": {"key": "OPS"}, "issuetype": {"name": "Task"}}
    good, bad = {"fields": {**task, "summary": "Renew"}}, {"fields": task}
    result = await ada.write("issues", "create", good, bad, good)
    assert result.written == 2 and {6, 7} <= set(jira.issues)
    assert len(jira.asked("POST /rest/api/3/issue/bulk")) == 1
    [(index, fault)] = result.faults
    assert index == 1 and fault.error_class is ErrorClass.RECORD
    assert "summary: You must specify a summary" in fault.message
    [(_, fault)] = (await ada.write("issues", "create", bad)).faults
    assert "summary: You must specify a summary" in fault.message
    result = await ada.write("issues", "delete", {"key": "OPS-6"}, {"key": "OPS-99"})
    assert result.written == 2 and not result.faults and 6 not in jira.issues


async def test_a_wrong_token(jira: Jira) -> None:
    async with account("jira", {**SITE, "base_url": jira.url}, {"api_token": "wrong-wrong-wrong"}) as wrong:
        assert not (await wrong.check())["myself"].ok
        error = await wrong.refused("projects")
    assert isinstance(error, CredentialError) and "API token" in error.hint


async def test_a_missing_scope_is_named(jira: Jira, ada: Account) -> None:
    jira.refuse(
        "/rest/agile/1.0/board", Reply({"code": 401, "message": "Unauthorized; scope does not match"}, 401)
    )
    error = await ada.refused("boards")
    assert isinstance(error, CredentialError)
    assert "read:board-scope:jira-software" in f"{error.message} {error.hint}"


async def test_a_burst_limit_is_waited_for_and_a_long_one_parks(jira: Jira, ada: Account) -> None:
    path = "/rest/api/3/search/jql"
    body = {"errorMessages": ["Rate limit exceeded."], "errors": {}}
    burst = {"Retry-After": "4", "RateLimit-Reason": "jira-burst-based", "X-RateLimit-Remaining": "0"}
    jira.refuse(path, Reply(body, 429, burst))
    assert len(await ada.read(stream="issues")) == 5 and ada.waited(4.0)
    reset = (datetime.now(UTC) + timedelta(minutes=20)).strftime("%Y-%m-%dT%H:%M:%SZ")
    jira.refuse(
        path, Reply(body, 429, {"RateLimit-Reason": "jira-quota-global-based", "X-RateLimit-Reset": reset})
    )
    error = await ada.refused("issues")
    assert isinstance(error, RateLimited) and "jira-quota-global-based" in error.message


def test_the_address_follows_the_account() -> None:
    from platforms.vendor import FOLDER

    from platint_tui.manifest.addresses import address_of
    from platint_tui.manifest.loader import load_connector

    transport = load_connector(FOLDER / "jira.yaml").transport
    site = {"profile": {"site": "acme"}}
    assert address_of(transport.base_url, site, "production") == "https://acme.atlassian.net"
    cloud = {"profile": {"site": "acme", "cloud_id": "11-22"}}
    assert address_of(transport.base_url, cloud, "production") == "https://api.atlassian.com/ex/jira/11-22"
