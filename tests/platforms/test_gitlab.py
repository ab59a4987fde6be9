"""GitLab through its manifest, against a server in GitLab's shapes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from platforms.vendor import Account, Asked, Reply, Vendor, account, running

from platint_tui.core.errors import CredentialError, ErrorClass, RateLimited

TOKEN = "glpat-0123456789abcdefghij"


def project(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "name": f"p{number}",
        "path_with_namespace": f"acme/p{number}",
        "last_activity_at": f"2026-01-{number:02}T10:00:00.000Z",
    }


def issue(number: int, minute: int) -> dict[str, Any]:
    at = f"2026-02-01T10:{minute:02}:00.000Z"
    return {"id": 1000 + number, "iid": number, "project_id": 7, "title": f"issue {number}", "updated_at": at}


class Gitlab(Vendor):
    """Keyset pages of two projects, offset pages of two issues; PRIVATE-TOKEN must be right."""

    def __init__(self) -> None:
        super().__init__("gitlab", "/api/v4", guard=self.token)
        self.projects = [project(number) for number in (3, 7, 9)]
        self.issues = {number: issue(number, number) for number in range(1, 6)}
        self.on("GET /user", {"id": 1, "username": "ada", "name": "Ada"})
        self.on(
            "GET /personal_access_tokens/self",
            {"id": 5, "scopes": ["read_api"], "expires_at": "2027-01-01", "active": True},
        )
        self.on("GET /metadata", {"version": "19.1.0", "revision": "abc"})
        self.on("GET /projects", self.keyset)
        self.on("GET /issues", self.offset)
        self.on("POST /projects/7/issues", self.create)
        self.on("DELETE /projects/7/issues/{iid}", self.delete)
        self.on("GET /projects/{id}/repository/commits", self.commits)

    def token(self, asked: Asked) -> Reply | None:
        if asked.headers.get("private-token") == TOKEN:
            return None
        return Reply({"message": "401 Unauthorized"}, 401)

    def keyset(self, asked: Asked) -> Reply:
        after = int(asked.query.get("id_after", "0"))
        since = asked.query.get("last_activity_after", "")
        found = [item for item in self.projects if item["id"] > after and item["last_activity_at"] >= since]
        page, rest = found[:2], found[2:]
        link = f'<{self.url}/projects?id_after={page[-1]["id"]}&membership=true>; rel="next"' if rest else ""
        return Reply(page, headers={"Link": link} if link else {})

    def offset(self, asked: Asked) -> Reply:
        since = asked.query.get("updated_after", "")
        number = int(asked.query.get("page", "1"))
        found = sorted(
            (item for item in self.issues.values() if item["updated_at"] >= since),
            key=lambda item: str(item["updated_at"]),
        )
        page = found[(number - 1) * 2 : number * 2]
        more = number * 2 < len(found)
        rest = f"&updated_after={since}" if since else ""
        link = f'<{self.url}/issues?page={number + 1}&per_page=100{rest}>; rel="next"'
        return Reply(page, headers={"Link": link, "X-Next-Page": str(number + 1)} if more else {})

    def create(self, asked: Asked) -> Reply:
        sent = asked.json
        if not sent.get("title"):
            return Reply({"message": {"title": ["can't be blank"]}}, 400)
        number = max(self.issues) + 1
        self.issues[number] = {**issue(number, 30 + number), **sent}
        return Reply(self.issues[number], 201)

    def delete(self, asked: Asked, iid: str) -> Reply:
        return (
            Reply(None, 204) if self.issues.pop(int(iid), None) else Reply({"message": "404 Not found"}, 404)
        )

    def commits(self, asked: Asked, id: str) -> list[Any]:
        return [{"id": f"sha-{id}", "title": "first", "committed_date": "2026-01-01T00:00:00.000+01:00"}]


@pytest.fixture
async def gitlab() -> AsyncIterator[Gitlab]:
    async with running(Gitlab()) as vendor:
        assert isinstance(vendor, Gitlab)
        yield vendor


@pytest.fixture
async def ada(gitlab: Gitlab) -> AsyncIterator[Account]:
    async with account("gitlab", {"base_url": gitlab.url}, {"token": TOKEN}) as opened:
        yield opened


async def test_check_and_discovery(gitlab: Gitlab, ada: Account) -> None:
    found = await ada.check()
    assert all(item.ok for item in found.values())
    assert "ada" in found["user"].detail and "2027-01-01" in found["token"].detail
    assert {"projects", "issues", "merge_requests", "commits", "jobs"} <= await ada.streams()


async def test_projects_by_keyset_pages(gitlab: Gitlab, ada: Account) -> None:
    assert [item["id"] for item in await ada.read(stream="projects")] == [3, 7, 9]
    assert gitlab.seen[0].query["pagination"] == "keyset" and "id_after" in gitlab.seen[1].query


async def test_issues_full_then_what_is_new(gitlab: Gitlab, ada: Account) -> None:
    assert [item["iid"] for item in await ada.read(stream="issues")] == [1, 2, 3, 4, 5]
    position = ada.position
    assert await ada.read(position, "issues") == []
    gitlab.issues[2] = issue(2, 50)
    assert [item["iid"] for item in await ada.read(position, "issues")] == [2]
    assert gitlab.seen[-1].query["updated_after"] == "2026-02-01T10:05:00.000Z"


async def test_commits_know_their_project(ada: Account) -> None:
    found = await ada.read(stream="commits")
    assert [(item["project_id"], item["id"]) for item in found] == [(3, "sha-3"), (7, "sha-7"), (9, "sha-9")]


async def test_an_issue_is_made_and_deleted(gitlab: Gitlab, ada: Account) -> None:
    result = await ada.write(
        "issues", "create", {"project_id": 7, "title": "new"}, {"project_id": 7, "title": ""}
    )
    assert result.written == 1 and result.responses[0]["iid"] == 6
    [(index, fault)] = result.faults
    assert index == 1 and fault.error_class is ErrorClass.RECORD
    result = await ada.write("issues", "delete", {"project_id": 7, "iid": 6}, {"project_id": 7, "iid": 99})
    assert result.written == 2 and not result.faults and 6 not in gitlab.issues


async def test_a_wrong_token(gitlab: Gitlab) -> None:
    async with account("gitlab", {"base_url": gitlab.url}, {"token": "glpat-wrong-wrong-wrong00"}) as wrong:
        found = await wrong.check()
        assert not found["user"].ok and "401" in found["user"].detail
        error = await wrong.refused("projects")
    assert isinstance(error, CredentialError) and "revoked" in error.hint


async def test_a_missing_scope_is_named(gitlab: Gitlab, ada: Account) -> None:
    refusal = {
        "error": "insufficient_scope",
        "error_description": "The request requires higher privileges than provided by the access token.",
        "scope": "api read_api",
    }
    gitlab.refuse("/issues", Reply(refusal, 403))
    error = await ada.refused("issues")
    assert isinstance(error, CredentialError) and "api read_api" in error.message
    assert error.code == "insufficient_scope"


async def test_a_limit_in_plain_text_without_headers(gitlab: Gitlab, ada: Account) -> None:
    gitlab.refuse("/issues", Reply("Retry later\n", 429, {"Content-Type": "text/plain"}))
    error = await ada.refused("issues")
    assert isinstance(error, RateLimited) and ada.limits.blocked[-1][1] == 60.0


async def test_a_limit_with_headers_is_waited_for(gitlab: Gitlab, ada: Account) -> None:
    headers = {
        "Retry-After": "3",
        "RateLimit-Name": "throttle_authenticated_api",
        "Content-Type": "text/plain",
    }
    gitlab.refuse("/issues", Reply("Retry later\n", 429, headers))
    assert len(await ada.read(stream="issues")) == 5
    assert ada.waited(3.0)
