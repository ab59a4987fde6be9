"""GitHub through its manifest: REST against `emulate`, an App whose JWT it verifies, and GraphQL in GitHub's shapes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from peers.emulate import GithubAppEmulator, GithubEmulator
from platforms.vendor import Account, Asked, Reply, Vendor, account, running

from platint_tui.core.errors import CredentialError, ErrorClass, RateLimited

TOKEN = "ghp_0123456789abcdefghij"


@pytest.fixture
async def octocat(github_emulator: GithubEmulator) -> AsyncIterator[Account]:
    async with account(
        "github", {"base_url": github_emulator.url}, {"token": github_emulator.token}
    ) as opened:
        yield opened


async def test_check_and_discovery(octocat: Account) -> None:
    found = await octocat.check()
    assert found["quota"].ok and found["user"].ok and "octocat" in found["user"].detail
    assert found["repositories"].ok and found["graphql"].optional
    assert {"issues", "commits", "discussions", "workflow_runs"} <= await octocat.streams()


async def test_issues_are_made_changed_and_read_again(
    github_emulator: GithubEmulator, octocat: Account
) -> None:
    before = {item["id"] for item in await octocat.read(stream="issues")}
    position = octocat.position
    assert len(before) >= sum(github_emulator.issues.values())
    row = {"repository": "octocat/gamma", "title": "Written", "body": "By platint", "labels": []}
    result = await octocat.write("issues", "create", row, {**row, "title": ""})
    assert result.written == 1
    [(index, fault)] = result.faults
    assert index == 1 and fault.error_class is ErrorClass.RECORD
    number = result.responses[0]["number"]
    change = {"repository": "octocat/gamma", "number": number, "title": "Changed", "state": "closed"}
    assert (await octocat.write("issues", "update", change)).written == 1
    [new] = await octocat.read(position, "issues")
    assert new["id"] not in before and (new["title"], new["state"], new["body"]) == (
        "Changed",
        "closed",
        "By platint",
    )


async def test_comments_labels_and_milestones_are_made_and_deleted(
    github_emulator: GithubEmulator, octocat: Account
) -> None:
    of = {"repository": "octocat/gamma"}
    made = await octocat.write("issue_comments", "create", {**of, "issue_number": 1, "body": "Looking at it"})
    comment = made.responses[0]["id"]
    # The emulator takes `issues/comments` for an issue called comments; the list of one issue it has.
    _, _, comments = github_emulator.call("GET", "/repos/octocat/gamma/issues/1/comments")
    assert [item["body"] for item in comments] == ["Looking at it"]
    assert (
        await octocat.write("issue_comments", "delete", {**of, "id": comment}, {**of, "id": 10**9})
    ).written == 2
    assert (
        await octocat.write("labels", "create", {**of, "name": "needs info", "color": "ff0000"})
    ).written == 1
    assert "needs info" in {item["name"] for item in await octocat.read(stream="labels")}
    assert (await octocat.write("labels", "delete", {**of, "name": "needs info"})).written == 1
    assert "needs info" not in {item["name"] for item in await octocat.read(stream="labels")}
    made = await octocat.write("milestones", "create", {**of, "title": "1.0"})
    number = made.responses[0]["number"]
    assert [item["title"] for item in await octocat.read(stream="milestones")] == ["1.0"]
    assert (await octocat.write("milestones", "delete", {**of, "number": number})).written == 1
    assert await octocat.read(stream="milestones") == []


async def test_an_app_exchanges_its_jwt(github_app: GithubAppEmulator) -> None:
    fields = {
        "base_url": github_app.url,
        "app_id": github_app.app_id,
        "installation_id": github_app.installation_id,
        "repositories_of": "users/octocat",
    }
    async with account("github", fields, {"app_key": github_app.key}) as app:
        assert (await app.check())["quota"].ok
        assert [item["full_name"] for item in await app.read(stream="repositories")] == ["octocat/shop"]
        assert (
            await app.write("issues", "create", {"repository": "octocat/shop", "title": "By the App"})
        ).written == 1
        assert [item["title"] for item in await app.read(stream="issues")] == ["By the App"]


async def test_an_app_that_is_not_installed(github_app: GithubAppEmulator) -> None:
    fields = {"base_url": github_app.url, "app_id": github_app.app_id, "installation_id": "100"}
    async with account("github", fields, {"app_key": github_app.key}) as app:
        assert isinstance(await app.refused("repositories"), CredentialError)


def discussion(number: int) -> dict[str, Any]:
    at = f"2026-02-{number:02}T10:00:00Z"
    return {
        "id": f"D_{number}",
        "number": number,
        "title": f"d{number}",
        "body": "?",
        "url": f"https://github.com/o/a/discussions/{number}",
        "createdAt": at,
        "updatedAt": at,
        "closed": False,
        "closedAt": None,
        "isAnswered": None,
        "locked": False,
        "upvoteCount": 1,
        "author": None,
        "category": {"name": "Q&A"},
        "comments": {"totalCount": 0},
    }


class Github(Vendor):
    """One repository, discussions by pages of two over GraphQL with a cost, and the refusals of api.github.com."""

    def __init__(self) -> None:
        super().__init__("github", undescribed=("/graphql",), guard=self.token)
        self.discussions = [discussion(number) for number in range(5, 0, -1)]
        self.deleted: list[str] = []
        self.remaining = 5000
        self.reset = (datetime.now(UTC) + timedelta(minutes=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.on("GET /user/repos", [{"id": 1, "name": "a", "full_name": "o/a", "owner": {"login": "o"}}])
        self.on("POST /graphql", self.graphql)

    def token(self, asked: Asked) -> Reply | None:
        if asked.headers.get("authorization") == f"Bearer {TOKEN}":
            return None
        return Reply({"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest"}, 401)

    def graphql(self, asked: Asked) -> Reply:
        self.remaining -= 1
        limit = {"cost": 1, "remaining": self.remaining, "resetAt": self.reset}
        root = {"repository": self.repository, "rateLimit": limit, "deleteIssue": self.delete_issue}
        if asked.json["variables"].get("id") == "I_2":
            message = "Could not resolve to a node with the global id of 'I_2'."
            return Reply(
                {"data": {"deleteIssue": None}, "errors": [{"type": "NOT_FOUND", "message": message}]}
            )
        assert self.description is not None
        return self.description.graphql(asked, root)

    def repository(self, info: Any, owner: str, name: str) -> Any:
        assert (owner, name) == ("o", "a")
        return {"discussions": self.pages}

    def pages(self, info: Any, first: int, orderBy: Any, after: str | None = None, **others: Any) -> Any:
        start = int(after or 0)
        more = {"hasNextPage": start + 2 < len(self.discussions), "endCursor": str(start + 2)}
        return {"nodes": self.discussions[start : start + 2], "pageInfo": more}

    def delete_issue(self, info: Any, input: Any) -> Any:
        self.deleted.append(input["issueId"])
        return {"repository": {"id": "R_1"}}


@pytest.fixture
async def github() -> AsyncIterator[Github]:
    async with running(Github()) as vendor:
        assert isinstance(vendor, Github)
        yield vendor


@pytest.fixture
async def someone(github: Github) -> AsyncIterator[Account]:
    async with account("github", {"base_url": github.url}, {"token": TOKEN}) as opened:
        yield opened


async def test_discussions_over_graphql(github: Github, someone: Account) -> None:
    assert [item["number"] for item in await someone.read(stream="discussions")] == [5, 4, 3, 2, 1]
    position = someone.position
    assert await someone.read(position, "discussions") == []
    github.discussions.insert(0, discussion(6))
    assert [item["number"] for item in await someone.read(position, "discussions")] == [6]


async def test_an_issue_is_deleted_over_graphql(github: Github, someone: Account) -> None:
    result = await someone.write("issues", "delete", {"node_id": "I_1"}, {"node_id": "I_2"})
    assert result.written == 1 and github.deleted == ["I_1"]
    [(index, fault)] = result.faults
    assert index == 1 and fault.code == "NOT_FOUND"


async def test_a_missing_scope_is_named(github: Github, someone: Account) -> None:
    headers = {"X-OAuth-Scopes": "public_repo", "X-Accepted-OAuth-Scopes": "repo"}
    github.refuse("/user/repos", Reply({"message": "Must have admin rights."}, 403, headers))
    error = await someone.refused("repositories")
    assert isinstance(error, CredentialError) and "one of the scopes repo" in error.message
    fine = {"X-Accepted-GitHub-Permissions": "issues=read"}
    body = {"message": "Resource not accessible by personal access token"}
    github.refuse("/repos/o/a/issues", Reply(body, 403, fine))
    assert "issues=read" in (await someone.refused("issues")).message
    message = (
        "Your token has not been granted the required scopes. The 'title' field requires ['read:project']."
    )
    errors = {"data": None, "errors": [{"type": "INSUFFICIENT_SCOPES", "message": message}]}
    github.refuse("/graphql", Reply(errors))
    error = await someone.refused("discussions")
    assert isinstance(error, CredentialError) and "read:project" in error.message


async def test_a_wrong_token(github: Github) -> None:
    async with account("github", {"base_url": github.url}, {"token": "ghp_wrong"}) as wrong:
        assert not (await wrong.check())["quota"].ok
        error = await wrong.refused("repositories")
    assert isinstance(error, CredentialError) and "revoked" in error.hint


async def test_limits_in_every_form_of_github(github: Github, someone: Account) -> None:
    secondary = {"message": "You have exceeded a secondary rate limit. Please wait a few minutes."}
    github.refuse("/user/repos", Reply(secondary, 403, {"Retry-After": "2"}))
    assert len(await someone.read(stream="repositories")) == 1 and someone.waited(2.0)
    github.refuse("/user/repos", Reply(secondary, 403))
    assert isinstance(await someone.refused("repositories"), RateLimited)
    used_up = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 3600)}
    github.refuse("/user/repos", Reply({"message": "API rate limit exceeded"}, 403, used_up))
    error = await someone.refused("repositories")
    assert isinstance(error, RateLimited) and someone.limits.blocked
    limited = {"errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}]}
    github.refuse("/graphql", Reply(limited, 200, used_up))
    assert isinstance(await someone.refused("discussions"), RateLimited)


async def test_nothing_is_sent_that_the_quota_forbids(github: Github, someone: Account) -> None:
    """The second page of discussions would need a point more than GraphQL has left; REST has a quota of its own."""
    github.remaining = 1
    assert isinstance(await someone.refused("discussions"), RateLimited)
    assert len(github.asked("POST /graphql")) == 1
    assert len(await someone.read(stream="repositories")) == 1
    last = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 1800)}
    github.on("GET /user/repos", Reply([], headers=last))
    assert await someone.read(stream="repositories") == []
    sent = len(github.seen)
    assert isinstance(await someone.refused("repositories"), RateLimited) and len(github.seen) == sent


async def test_comments_full_then_since_the_last(github: Github, someone: Account) -> None:
    def comment(number: int) -> dict[str, Any]:
        at = f"2026-02-{number:02}T10:00:00Z"
        return {"id": number, "body": f"c{number}", "issue_url": "x", "created_at": at, "updated_at": at}

    every = [comment(3), comment(2), comment(1)]

    def page(asked: Asked) -> Reply:
        found = [item for item in every if item["updated_at"] >= asked.query.get("since", "")]
        number = int(asked.query.get("page", "1"))
        more = f'<{github.url}/repos/o/a/issues/comments?page={number + 1}&per_page=100>; rel="next"'
        return Reply(
            found[number * 2 - 2 : number * 2], headers={"Link": more} if number * 2 < len(found) else {}
        )

    github.on("GET /repos/o/a/issues/comments", page)
    assert [item["body"] for item in await someone.read(stream="issue_comments")] == ["c3", "c2", "c1"]
    position = someone.position
    every.insert(0, comment(4))
    assert [item["body"] for item in await someone.read(position, "issue_comments")] == ["c4"]
    assert github.seen[-1].query["since"] == "2026-02-03T10:00:00Z"
