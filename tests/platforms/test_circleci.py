"""CircleCI through its manifest, against a server in CircleCI's shapes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from platforms.vendor import Account, Asked, Reply, Vendor, account, running

from platint_tui.core.errors import CredentialError, RateLimited

TOKEN = "CCIPAT_0123456789abcdef"
FIELDS = {"org_slug": "gh/acme", "project_slug": "gh/acme/shop"}


def pipeline(number: int) -> dict[str, Any]:
    at = f"2026-02-{number:02}T10:00:00.000Z"
    return {
        "id": f"p{number}",
        "number": number,
        "project_slug": "gh/acme/shop",
        "state": "created",
        "errors": [],
        "trigger": {"type": "api", "received_at": at, "actor": {"login": "ada", "avatar_url": None}},
        "created_at": at,
        "updated_at": at,
    }


class CircleCi(Vendor):
    """Pages of two pipelines, newest first, by token."""

    def __init__(self) -> None:
        super().__init__("circleci", "/api/v2", guard=self.token)
        self.pipelines = [pipeline(number) for number in range(7, 0, -1)]
        self.contexts = {"c1": {"id": "c1", "name": "prod", "created_at": "2026-01-01T00:00:00Z"}}
        self.variables: dict[str, str] = {}
        self.on("GET /me", {"id": "u1", "login": "ada", "name": "Ada"})
        self.on("GET /pipeline", self.pages)
        self.on("GET /pipeline/{id}/workflow", self.workflows)
        self.on("GET /workflow/{id}/job", self.jobs)
        self.on(
            "GET /context", lambda asked: {"items": list(self.contexts.values()), "next_page_token": None}
        )
        self.on("DELETE /context/{id}", self.delete_context)
        self.on("PUT /context/{id}/environment-variable/{name}", self.set_variable)
        self.on("POST /project/gh%2Facme%2Fshop/pipeline", self.start)

    def token(self, asked: Asked) -> Reply | None:
        if asked.headers.get("circle-token") == TOKEN:
            return None
        return Reply({"message": "You must log in first."}, 401)

    def pages(self, asked: Asked) -> Any:
        assert asked.query["org-slug"] == "gh/acme"
        start = int(asked.query.get("page-token", "0"))
        token = str(start + 2) if start + 2 < len(self.pipelines) else None
        return {"items": self.pipelines[start : start + 2], "next_page_token": token}

    def workflows(self, asked: Asked, id: str) -> Any:
        items = [{"id": f"w-{id}", "name": "build", "pipeline_id": id, "status": "success"}]
        return {"items": items, "next_page_token": None}

    def jobs(self, asked: Asked, id: str) -> Any:
        items = [{"id": f"j-{id}", "name": "test", "type": "build", "status": "success", "dependencies": []}]
        return {"items": items, "next_page_token": None}

    def delete_context(self, asked: Asked, id: str) -> Reply:
        if self.contexts.pop(id, None) is None:
            return Reply({"message": "Context not found."}, 404)
        return Reply({"message": "Context deleted."})

    def set_variable(self, asked: Asked, id: str, name: str) -> Any:
        self.variables[f"{id}/{name}"] = asked.json["value"]
        return {"variable": name, "context_id": id, "created_at": "2026-02-01T00:00:00Z"}

    def start(self, asked: Asked) -> Reply:
        if asked.json.get("branch") == "":
            return Reply({"message": "Branch must not be empty."}, 400)
        return Reply({"id": "p9", "number": 9, "state": "pending", "created_at": "2026-02-09T10:00:00Z"}, 201)


@pytest.fixture
async def circle() -> AsyncIterator[CircleCi]:
    async with running(CircleCi()) as vendor:
        assert isinstance(vendor, CircleCi)
        yield vendor


@pytest.fixture
async def ada(circle: CircleCi) -> AsyncIterator[Account]:
    async with account("circleci", {**FIELDS, "base_url": circle.url}, {"token": TOKEN}) as opened:
        yield opened


async def test_check_and_discovery(circle: CircleCi, ada: Account) -> None:
    circle.refuse("/context", Reply({"message": "Permission denied"}, 403))
    found = await ada.check()
    assert found["me"].ok and "ada" in found["me"].detail and found["pipelines"].ok
    assert not found["contexts"].ok and found["contexts"].optional
    assert {"pipelines", "workflows", "jobs", "contexts", "workflow_runs"} <= await ada.streams()


async def test_pipelines_full_then_until_what_is_known(circle: CircleCi, ada: Account) -> None:
    assert [item["number"] for item in await ada.read(stream="pipelines")] == [7, 6, 5, 4, 3, 2, 1]
    position = ada.position
    assert await ada.read(position, "pipelines") == []
    circle.pipelines.insert(0, pipeline(8))
    # One that moved on within two days is seen again, older ones are not asked for.
    circle.pipelines[1] = {**pipeline(7), "state": "errored"}
    before = len(circle.seen)
    assert [item["number"] for item in await ada.read(position, "pipelines")] == [8, 7]
    assert len(circle.seen) - before == 3


async def test_jobs_through_pipelines_and_workflows(ada: Account) -> None:
    found = await ada.read(stream="jobs")
    assert len(found) == 7 and found[0]["id"] == "j-w-p7" and found[0]["workflow_id"] == "w-p7"


async def test_a_pipeline_is_started_a_variable_set_a_context_deleted(circle: CircleCi, ada: Account) -> None:
    row = {"project_slug": "gh/acme/shop", "branch": "main", "parameters": {"deploy": True}}
    result = await ada.write("pipelines", "create", row, {**row, "branch": ""})
    assert result.written == 1 and result.responses[0]["id"] == "p9" and result.faults[0][0] == 1
    assert circle.asked("POST /project/gh%2Facme%2Fshop/pipeline")[0].json["parameters"] == {"deploy": True}
    value = {"context_id": "c1", "variable": "REGION", "value": "eu"}
    assert (await ada.write("context_variables", "upsert", value)).written == 1
    assert circle.variables == {"c1/REGION": "eu"}
    assert (await ada.write("contexts", "delete", {"id": "c1"}, {"id": "c2"})).written == 2
    assert not circle.contexts


async def test_a_wrong_token(circle: CircleCi) -> None:
    async with account(
        "circleci", {**FIELDS, "base_url": circle.url}, {"token": "CCIPAT_wrong0000"}
    ) as wrong:
        assert not (await wrong.check())["me"].ok
        assert isinstance(await wrong.refused("pipelines"), CredentialError)


async def test_what_the_token_may_not_see_is_named(circle: CircleCi, ada: Account) -> None:
    circle.refuse("/pipeline", Reply({"message": "Permission denied"}, 403))
    error = await ada.refused("pipelines")
    assert (
        isinstance(error, CredentialError) and "member of the organisation" in f"{error.message} {error.hint}"
    )


async def test_limits(circle: CircleCi, ada: Account) -> None:
    circle.refuse("/pipeline", Reply({"message": "Too many requests"}, 429, {"Retry-After": "7"}))
    assert len(await ada.read(stream="pipelines")) == 7 and ada.waited(7.0)
    circle.refuse("/pipeline", Reply({"message": "Too many requests"}, 429, {"Retry-After": "900"}))
    assert isinstance(await ada.refused("pipelines"), RateLimited)
