"""Jenkins through its manifest, against a server in Jenkins' shapes: `tree` ranges, folders, crumbs, pages of HTML."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from platforms.vendor import Account, Asked, Reply, Vendor, account, running

from platint_tui.core.errors import CredentialError, SystemicError, TransientError

HTML = {"Content-Type": "text/html;charset=utf-8", "X-Jenkins": "2.528"}
TOKEN, PASSWORD = "11e7a4b2c5d80123456789abcdef012345", "a pass wörd"
DAY = 86_400_000
NOW = 1_767_312_000_000


def page(title: str) -> str:
    return f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"


def build(number: int, job: str, at: int) -> dict[str, Any]:
    url = f"http://ci/job/{job}/{number}/"
    return {
        "number": number,
        "id": str(number),
        "url": url,
        "result": "SUCCESS",
        "timestamp": at,
        "duration": 5,
    }


class Jenkins(Vendor):
    """130 jobs at the top, a folder `team` with the job `app`, and within it `sub` with `deep`.

    The password needs a crumb and the session that it came with for writes; the API token does not.
    """

    def __init__(self) -> None:
        super().__init__("jenkins", "/ci", ("/pluginManager/*", "*/doDelete"), guard=self.signed_in)
        self.jobs = [f"job{number:03}" for number in range(130)]
        self.builds = {"job000": [build(2, "job000", NOW), build(1, "job000", NOW - 3 * DAY)]}
        self.started: list[dict[str, str]] = []
        self.configs: dict[str, str] = {}
        self.on("GET /whoAmI/api/json", {"name": "ada", "anonymous": False, "authenticated": True})
        self.on("GET /computer/api/json", {"_class": "hudson.model.ComputerSet", "totalExecutors": 4})
        self.on("GET /pluginManager/api/json", self.forbidden("hudson.model.Hudson.SystemRead"))
        self.on("GET /api/json", self.top)
        self.on("GET /job/{name}/api/json", lambda asked, name: self.ranged(asked, self.builds.get(name, [])))
        self.on(
            "GET /job/team/api/json",
            lambda asked: self.ranged(asked, [self.job("app"), self.folder("sub")]),
        )
        self.on("GET /job/team/job/sub/api/json", lambda asked: self.ranged(asked, [self.job("deep")]))
        self.on("GET /job/team/job/app/api/json", lambda asked: self.ranged(asked, [build(7, "app", NOW)]))
        self.on("GET /crumbIssuer/api/json", self.crumb)
        self.on("POST /job/team/job/app/buildWithParameters", self.start)
        self.on("POST /createItem", self.create)
        self.on("POST /job/{name}/doDelete", self.delete)

    @staticmethod
    def job(name: str) -> dict[str, Any]:
        kind = "org.jenkinsci.plugins.workflow.job.WorkflowJob"
        return {
            "_class": kind,
            "name": name,
            "fullName": name,
            "url": f"http://ci/job/{name}/",
            "color": "blue",
        }

    def folder(self, name: str) -> dict[str, Any]:
        return {
            **self.job(name),
            "_class": "com.cloudbees.hudson.plugins.folder.Folder",
            "jobs": [{"name": "x"}],
        }

    @staticmethod
    def forbidden(permission: str) -> Reply:
        headers = {**HTML, "X-You-Are-Authenticated-As": "ada", "X-Required-Permission": permission}
        return Reply(page("Error 403 ada is missing a permission"), 403, headers)

    def signed_in(self, asked: Asked) -> Reply | None:
        kinds = {
            f"Basic {base64.b64encode(f'ada:{word}'.encode()).decode()}": word for word in (TOKEN, PASSWORD)
        }
        word = kinds.get(asked.headers.get("authorization", ""))
        if word is None:
            return Reply(page("Error 401 Unauthorized"), 401, HTML)
        crumbed = asked.headers.get("jenkins-crumb") == "c-1" and "JSESSIONID=s1" in asked.headers.get(
            "cookie", ""
        )
        if asked.method == "POST" and word == PASSWORD and not crumbed:
            return Reply(page("Error 403 No valid crumb was included in the request"), 403, HTML)
        return None

    def crumb(self, asked: Asked) -> Reply:
        found = {
            "_class": "hudson.security.csrf.DefaultCrumbIssuer",
            "crumb": "c-1",
            "crumbRequestField": "Jenkins-Crumb",
        }
        return Reply(found, headers={"Set-Cookie": "JSESSIONID=s1; Path=/; HttpOnly"})

    @staticmethod
    def ranged(asked: Asked, every: list[Any]) -> Any:
        """What `tree=NAME[fields]{from,to}` asks for."""
        found = re.fullmatch(r"(\w+)\[.*\]\{(\d+),(\d+)\}", asked.query["tree"])
        assert found, asked.query
        return {"_class": "any", found[1]: every[int(found[2]) : int(found[3])]}

    def top(self, asked: Asked) -> Any:
        return self.ranged(asked, [*(self.job(name) for name in self.jobs), self.folder("team")])

    def start(self, asked: Asked) -> Reply:
        self.started.append(asked.form)
        return Reply(None, 201, {**HTML, "Location": f"{self.url}/queue/item/42/"})

    def create(self, asked: Asked) -> Reply:
        assert asked.headers["content-type"] == "application/xml"
        name = asked.query["name"]
        if name in self.configs:
            message = f"A job already exists with the name ‘{name}’"
            return Reply(page("Error"), 400, {**HTML, "X-Error": message.encode().decode("latin-1")})
        self.configs[name] = asked.body.decode()
        return Reply(None, 200, HTML)

    def delete(self, asked: Asked, name: str) -> Reply:
        if self.configs.pop(name, None) is None:
            return Reply(page("Error 404 Not Found"), 404, HTML)
        return Reply(None, 302, {**HTML, "Location": f"{self.url}/"})


@pytest.fixture
async def jenkins() -> AsyncIterator[Jenkins]:
    async with running(Jenkins()) as vendor:
        assert isinstance(vendor, Jenkins)
        yield vendor


@pytest.fixture
async def ada(jenkins: Jenkins) -> AsyncIterator[Account]:
    fields = {"base_url": jenkins.url, "user": "ada"}
    async with account("jenkins", fields, {"api_token": TOKEN}) as opened:
        yield opened


async def test_check_and_discovery(ada: Account) -> None:
    found = await ada.check()
    assert found["whoami"].ok and "ada" in found["whoami"].detail and found["nodes"].ok
    assert not found["plugins"].ok and "SystemRead" in found["plugins"].detail
    assert {"jobs", "builds", "folder_builds", "queue", "nodes"} <= await ada.streams()


async def test_jobs_by_ranges_of_the_tree(jenkins: Jenkins, ada: Account) -> None:
    assert [item["name"] for item in await ada.read(stream="jobs")] == jenkins.jobs
    trees = [item.query["tree"] for item in jenkins.asked("GET /api/json")]
    assert [tree[tree.rindex("{") :] for tree in trees] == ["{0,100}", "{100,200}"]


async def test_jobs_and_builds_in_folders(ada: Account) -> None:
    assert [item["name"] for item in await ada.read(stream="folders")] == ["team"]
    assert [(item["folder"], item["name"]) for item in await ada.read(stream="folder_jobs")] == [
        ("team", "app")
    ]
    [deep] = await ada.read(stream="nested_jobs")
    assert (deep["folder"], deep["subfolder"], deep["name"]) == ("team", "sub", "deep")
    assert [(item["job"], item["number"]) for item in await ada.read(stream="folder_builds")] == [("app", 7)]


async def test_builds_full_then_what_is_new(jenkins: Jenkins, ada: Account) -> None:
    assert [item["number"] for item in await ada.read(stream="builds")] == [2, 1]
    position = ada.position
    assert await ada.read(position, "builds") == []
    jenkins.builds["job000"].insert(0, build(3, "job000", NOW + 1000))
    assert [item["number"] for item in await ada.read(position, "builds")] == [3]


async def test_a_build_is_started_and_jobs_are_made_and_deleted(jenkins: Jenkins, ada: Account) -> None:
    row = {"path": "team/job/app", "parameters": {"VERSION": "1.4", "NOTE": "a & b"}}
    assert (await ada.write("builds", "create", row)).written == 1
    assert jenkins.started == [{"VERSION": "1.4", "NOTE": "a & b"}]
    assert (await ada.write("jobs", "create", {"name": "nightly", "config": "<project/>"})).written == 1
    again = await ada.write("jobs", "create", {"name": "nightly", "config": "<project/>"})
    assert again.written == 0 and "already exists" in again.faults[0][1].message
    assert jenkins.configs == {"nightly": "<project/>"}
    result = await ada.write("jobs", "delete", {"path": "nightly"}, {"path": "other"})
    [(index, fault)] = result.faults
    assert (result.written, index, fault.code) == (1, 1, "404") and not jenkins.configs


@pytest.mark.parametrize("to", ["https://sso.example.com/oauth2/start", "/ci/login?from=%2Fjob%2Fnightly"])
async def test_a_login_is_not_taken_for_a_deleted_job(jenkins: Jenkins, ada: Account, to: str) -> None:
    jenkins.on("POST /job/nightly/doDelete", Reply(None, 302, {**HTML, "Location": to}))
    with pytest.raises(SystemicError, match="302") as caught:
        await ada.write("jobs", "delete", {"path": "nightly"})
    assert "redirects to" in caught.value.hint and "from=" not in caught.value.hint


async def test_a_password_needs_a_crumb(jenkins: Jenkins) -> None:
    fields = {"base_url": jenkins.url, "user": "ada", "sign_in": "password"}
    async with account("jenkins", fields, {"password": PASSWORD}) as opened:
        assert (await opened.check())["whoami"].ok
        row = {"path": "team/job/app", "parameters": {"VERSION": "1"}}
        assert (await opened.write("builds", "create", row, row)).written == 2
    assert len(jenkins.asked("GET /crumbIssuer/api/json")) == 1


async def test_a_wrong_token(jenkins: Jenkins) -> None:
    fields = {"base_url": jenkins.url, "user": "ada"}
    async with account("jenkins", fields, {"api_token": "wrong"}) as wrong:
        found = await wrong.check()
        assert not found["whoami"].ok and "<" not in found["whoami"].detail
        assert isinstance(await wrong.refused("jobs"), CredentialError)


async def test_a_missing_permission_is_named(ada: Account) -> None:
    error = await ada.refused("plugins")
    assert isinstance(error, CredentialError) and "hudson.model.Hudson.SystemRead" in error.message


async def test_a_restart_is_waited_for(jenkins: Jenkins, ada: Account) -> None:
    busy = Reply(page("Please wait while Jenkins is getting ready to work"), 503, HTML)
    jenkins.refuse("/api/json", busy, times=2)
    assert len(await ada.read(stream="jobs")) == 130
    jenkins.refuse("/api/json", busy, times=9)
    assert isinstance(await ada.refused("jobs"), TransientError)


async def test_a_busy_proxy_is_waited_for(jenkins: Jenkins, ada: Account) -> None:
    jenkins.refuse("/api/json", Reply(page("Too many requests"), 429, {**HTML, "Retry-After": "6"}))
    assert len(await ada.read(stream="folders")) == 1 and ada.waited(6.0)
