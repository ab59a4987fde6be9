"""Reading by jobs: made, asked for, downloaded in parts, found again after a crash, given up."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import Any

import pytest

from platint_tui.core.errors import PlatintError, RateLimited, SystemicError
from tests.http.hostile import SECRET, Build, Hostile, Rig, Seen, Whole, answer

POLL = {"path": "/jobs/${job.id}"}
RESULTS = {"path": "/jobs/${job.id}/results"}


def job(page: dict[str, Any] | None = None, **read: Any) -> dict[str, Any]:
    """Changes to the manifest: the items come as CSV from a job."""
    whole = {
        "type": "async_job",
        "id": "id",
        "poll": POLL,
        "status": "state",
        "done": ["JobComplete"],
        "failed": ["Failed", "Aborted"],
        "every": "5s",
        "timeout": "10m",
        "results": RESULTS,
        "locator": {"header": "Sforce-Locator", "param": "locator", "end": ["null"]},
        "abort": {"method": "PATCH", "path": "/jobs/${job.id}", "body": {"state": "Aborted"}},
        **(page or {}),
    }
    whole = {name: value for name, value in whole.items() if value is not None}
    request = Whole({"method": "POST", "path": "/jobs", "body": {"query": "SELECT Id FROM ${resource.of}"}})
    return {
        "resources": {
            "items": {
                "read": {"page": Whole(whole), "request": request, "format": "csv", "records": "", **read}
            }
        }
    }


class Platform:
    """Jobs that are done after `polls` questions, with results in parts."""

    def __init__(self, hostile: Hostile, parts: list[list[int]], polls: int = 2) -> None:
        self.hostile, self.parts, self.polls = hostile, parts, polls
        self.jobs: dict[str, int] = {}
        self.aborted: list[str] = []
        self.status = ""
        self.urls: list[str] | str | None = None
        hostile.routes["/jobs"] = self.create

    def create(self, seen: Seen, writer: Any) -> None:
        name = f"j{len(self.jobs) + 1}"
        self.jobs[name] = 0
        self.hostile.routes[f"/jobs/{name}"] = self.poll
        self.hostile.routes[f"/jobs/{name}/results"] = self.results
        writer.write(answer(200, {"id": name, "state": "UploadComplete"}))

    def forget(self) -> None:
        for name in self.jobs:
            self.hostile.routes.pop(f"/jobs/{name}", None)
            self.hostile.routes.pop(f"/jobs/{name}/results", None)

    def poll(self, seen: Seen, writer: Any) -> None:
        name = seen.path.split("/")[2]
        if seen.method == "PATCH":
            assert json.loads(seen.body) == {"state": "Aborted"}
            self.aborted.append(name)
            writer.write(answer(200, {"state": "Aborted"}))
            return
        self.jobs[name] += 1
        status = "JobComplete" if self.jobs[name] > self.polls else "InProgress"
        status = "Aborted" if name in self.aborted else self.status or status
        writer.write(answer(200, {"state": status, "errorMessage": "no such column", "url": self.urls}))

    def results(self, seen: Seen, writer: Any) -> None:
        number = int(seen.query.get("locator", "0"))
        rows = "".join(f"{item}\n" for item in self.parts[number])
        following = str(number + 1) if number + 1 < len(self.parts) else "null"
        headers = {"Content-Type": "text/csv", "Sforce-Locator": following}
        writer.write(answer(200, f"id\n{rows}".encode(), headers))

    @property
    def made(self) -> int:
        return len(self.jobs)


def ids(items: list[Any]) -> list[int]:
    return [int(item["id"]) for item in items]


async def refused(rig: Rig, position: Any = None) -> PlatintError:
    with pytest.raises(PlatintError) as caught:
        await rig.read(position)
    return caught.value


async def test_a_job_is_made_waited_for_and_read_in_parts(build: Build, hostile: Hostile) -> None:
    platform = Platform(hostile, [[1, 2], [3], [4]])
    rig = build(job())
    assert ids(await rig.read()) == [1, 2, 3, 4]
    assert [len(page.records) for page in rig.pages] == [0, 2, 1, 1]
    assert [page.requests for page in rig.pages] == [1, 4, 1, 1]
    assert rig.pages[0].position["page"]["job"] == "j1" and rig.pages[2].position["page"]["locator"] == "2"
    assert rig.pages[-1].last and rig.position["page"] is None
    assert rig.clock.slept == [5.0, 7.5]
    assert json.loads(hostile.seen[0].body) == {"query": "SELECT Id FROM items"}
    assert platform.aborted == []


async def test_the_platform_says_when_to_ask_again(build: Build, hostile: Hostile) -> None:
    platform = Platform(hostile, [[1]], polls=0)
    running = answer(200, {"state": "InProgress"}, {"Retry-After": "40"})
    late = answer(200, {"state": "InProgress"}, {"Retry-After": "86400"})
    odd = answer(200, {"state": "InProgress"}, {"Retry-After": "soon"})
    told = [running, late, odd]
    create, poll = platform.create, platform.poll

    def answered(seen: Seen, writer: Any) -> None:
        if told:
            writer.write(told.pop(0))
        else:
            poll(seen, writer)

    platform.poll = answered  # type: ignore[method-assign]
    hostile.routes["/jobs"] = create
    rig = build(job())
    assert ids(await rig.read()) == [1]
    assert rig.clock.slept == [40.0, 300.0, 11.25]


async def test_an_interrupted_scan_goes_on_with_its_job_from_every_page(
    build: Build, hostile: Hostile
) -> None:
    platform = Platform(hostile, [[1, 2], [3], [4]])
    rig = build(job())
    whole = ids(await rig.read())
    pages = rig.pages
    for number, page in enumerate(pages[:-1]):
        before = [int(record.value["id"]) for one in pages[: number + 1] for record in one.records]
        rest = await rig.read(json.loads(json.dumps(page.position)))
        assert before + ids(rest) == whole
    assert platform.made == 1


@pytest.mark.parametrize("after", [0, 1, 2])
async def test_a_stored_job_that_is_forgotten_is_made_again(
    build: Build, hostile: Hostile, after: int
) -> None:
    platform = Platform(hostile, [[1, 2], [3], [4]])
    rig = build(job())
    await rig.read()
    position = json.loads(json.dumps(rig.pages[after].position))
    platform.forget()
    assert ids(await rig.read(position)) == [1, 2, 3, 4]
    assert platform.made == 2


async def test_a_stored_job_that_was_given_up_is_made_again(build: Build, hostile: Hostile) -> None:
    platform = Platform(hostile, [[1]])
    rig = build(job())
    await rig.read()
    position = rig.pages[0].position
    platform.aborted.append("j1")
    assert ids(await rig.read(position)) == [1]
    assert platform.made == 2


async def test_a_job_that_is_forgotten_again_is_an_error(build: Build, hostile: Hostile) -> None:
    hostile.json("/jobs", {"id": "gone"})
    assert (await refused(build(job()))).code == "job_expired"
    assert [seen.path for seen in hostile.seen] == ["/jobs", "/jobs/gone"] * 2


async def test_a_job_that_fails_says_why(build: Build, hostile: Hostile) -> None:
    platform = Platform(hostile, [[1]])
    platform.status = "Failed"
    error = await refused(build(job()))
    assert isinstance(error, SystemicError) and error.code == "job_failed"
    assert "ended as Failed: no such column" in error.message
    assert platform.aborted == []


async def test_a_job_that_takes_too_long_is_given_up(build: Build, hostile: Hostile) -> None:
    platform = Platform(hostile, [[1]], polls=10**6)
    rig = build(job())
    error = await refused(rig)
    assert error.code == "job_timeout" and "InProgress" in error.message
    assert platform.aborted == ["j1"]
    assert sum(rig.clock.slept) >= 600 and max(rig.clock.slept) == 60.0


async def test_a_stored_job_is_asked_once_more_whatever_its_age(build: Build, hostile: Hostile) -> None:
    platform = Platform(hostile, [[1]], polls=0)
    rig = build(job())
    await rig.read()
    position = json.loads(json.dumps(rig.pages[0].position))
    position["page"]["at"] -= 10**9
    assert ids(await rig.read(position)) == [1] and platform.made == 1


async def test_a_scan_that_is_closed_gives_its_job_up(build: Build, hostile: Hostile) -> None:
    platform = Platform(hostile, [[1]], polls=10**6)
    rig = build(job())
    async with aclosing(rig.driver.read("items", None)) as pages:  # type: ignore[type-var]
        async for _ in pages:
            break
    assert platform.aborted == ["j1"]


async def test_a_scan_that_is_cancelled_gives_its_job_up(build: Build, hostile: Hostile) -> None:
    platform = Platform(hostile, [[1]], polls=10**6)
    asked = asyncio.Event()

    async def wait(seconds: float) -> None:
        asked.set()
        await asyncio.Event().wait()

    rig = build(job())
    rig.clock.sleep = wait  # type: ignore[method-assign]
    task = asyncio.create_task(rig.read())
    await asyncio.wait_for(asked.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert platform.aborted == ["j1"]


async def test_a_scan_that_is_parked_keeps_its_job(build: Build, hostile: Hostile) -> None:
    platform = Platform(hostile, [[1]])
    rig = build(job())
    await rig.read()
    position = rig.pages[0].position
    hostile.json("/jobs/j1", {}, status=429, headers={"Retry-After": "120"})
    assert isinstance(await refused(rig, position), RateLimited)
    assert "PATCH" not in [seen.method for seen in hostile.seen]
    hostile.routes["/jobs/j1"] = platform.poll
    assert ids(await rig.read(position)) == [1] and platform.made == 1


@pytest.mark.parametrize("document", [{}, {"id": ""}, {"id": True}, {"id": None}])
async def test_an_answer_without_a_job(build: Build, hostile: Hostile, document: Any) -> None:
    hostile.json("/jobs", document)
    assert (await refused(build(job()))).code == "no_job"


async def test_a_locator_that_repeats_is_no_loop(build: Build, hostile: Hostile) -> None:
    Platform(hostile, [[1]], polls=0)
    rig = build(job())
    await rig.read()
    hostile.routes["/jobs/j1/results"] = lambda seen, writer: writer.write(
        answer(200, b"id\n1\n", {"Sforce-Locator": "7"})
    )
    assert (await refused(rig, rig.pages[0].position)).code == "repeated_cursor"


@pytest.mark.parametrize(
    "page", [{"n": 2, "after": "x"}, {"n": 2, "job": {}}, {"n": 2, "job": "a"}, {"job": "a"}]
)
async def test_a_position_of_another_kind_is_refused(build: Build, hostile: Hostile, page: Any) -> None:
    position = {"v": 1, "kind": "cursor", "since": None, "high": None, "edge": [], "page": page}
    assert (await refused(build(job()), position)).code == "position"
    assert hostile.seen == []


# --- addresses -------------------------------------------------------------------------------------------


def by_url(**page: Any) -> dict[str, Any]:
    return job({"results": None, "locator": None, "url": "url", **page}, format="ndjson")


def files(hostile: Hostile, *numbers: int) -> list[str]:
    for number in numbers:
        hostile.raw(f"/file/{number}", answer(200, f'{{"id": {number}}}\n'.encode()), close=False)
    return [f"{hostile.url}/file/{number}?X-Signature=abc" for number in numbers]


async def test_results_of_another_host_get_no_credential(
    build: Build, hostile: Hostile, other: Hostile
) -> None:
    platform = Platform(hostile, [], polls=0)
    platform.urls = files(other, 1, 2, 3)
    changes = by_url()
    changes["transport"] = {"download_hosts": [f"127.0.0.1:{other.port}"]}
    rig = build(changes)
    assert ids(await rig.read()) == [1, 2, 3]
    assert [seen.target for seen in other.seen] == [f"/file/{number}?X-Signature=abc" for number in (1, 2, 3)]
    assert all("authorization" not in seen.headers and SECRET not in str(seen.headers) for seen in other.seen)
    assert "Signature" not in json.dumps([page.position for page in rig.pages])
    # Every part is found again, at an address that is asked for anew.
    for number, page in enumerate(rig.pages[:-1]):
        assert ids(await rig.read(json.loads(json.dumps(page.position)))) == [1, 2, 3][number:]


async def test_results_of_the_platform_itself_get_the_credential(build: Build, hostile: Hostile) -> None:
    platform = Platform(hostile, [], polls=0)
    platform.urls = files(hostile, 1)[0]
    assert ids(await build(by_url()).read()) == [1]
    assert hostile.seen[-1].headers["authorization"] == f"Bearer {SECRET}"


async def test_results_of_a_stranger_are_not_asked_for(
    build: Build, hostile: Hostile, other: Hostile
) -> None:
    platform = Platform(hostile, [], polls=0)
    platform.urls = files(other, 1)
    assert (await refused(build(by_url()))).code == "origin"
    assert other.seen == []


@pytest.mark.parametrize("urls", [None, []])
async def test_no_address_is_no_records(build: Build, hostile: Hostile, urls: Any) -> None:
    platform = Platform(hostile, [], polls=0)
    platform.urls = urls
    rig = build(by_url())
    assert await rig.read() == [] and rig.pages[-1].last


async def test_an_address_that_expired_is_asked_for_anew(build: Build, hostile: Hostile) -> None:
    platform = Platform(hostile, [], polls=0)
    good = files(hostile, 1, 2)
    hostile.json("/old", {}, status=403)
    platform.urls = [good[0], f"{hostile.url}/old"]
    create = platform.poll

    def poll(seen: Seen, writer: Any) -> None:
        if platform.jobs["j1"] == 1:
            platform.urls = good
        create(seen, writer)

    platform.poll = poll  # type: ignore[method-assign]
    assert ids(await build(by_url()).read()) == [1, 2]
    assert platform.made == 1


async def test_a_job_for_each_window(build: Build, hostile: Hostile) -> None:
    platform = Platform(hostile, [[]], polls=0)
    cursor = {"field": "at", "type": "iso8601", "side": "server", "initial": "-P25D", "window": "P10D"}
    changes = job(cursor=cursor)
    read = changes["resources"]["items"]["read"]
    body = {"from": "${cursor.start}", "to": "${cursor.end}"}
    read["request"] = Whole({"method": "POST", "path": "/jobs", "body": body})
    rig = build(changes)
    assert await rig.read() == [] and platform.made == 3
    spans = [json.loads(seen.body) for seen in hostile.seen if seen.path == "/jobs"]
    assert spans[0]["to"] == spans[1]["from"] and spans[1]["to"] == spans[2]["from"]


async def test_a_job_is_made_for_what_is_new(build: Build, hostile: Hostile) -> None:
    asked: list[dict[str, str]] = []

    def create(seen: Seen, writer: Any) -> None:
        asked.append(seen.query)
        writer.write(answer(200, {"id": "j1"}))

    hostile.routes["/jobs"] = create
    hostile.json("/jobs/j1", {"state": "JobComplete"})
    hostile.json("/jobs/j1/results", {"data": [{"id": 1, "at": 5}]})
    cursor = {"field": "at", "type": "epoch_s", "start_param": "since", "order": "asc"}
    rig = build(job({"locator": None}, format="json", records="data", cursor=Whole(cursor)))
    assert len(await rig.read()) == 1
    assert await rig.read(rig.position) == []
    assert asked == [{}, {"since": "5"}]


async def test_a_job_whose_making_gets_no_answer(build: Build, hostile: Hostile) -> None:
    platform = Platform(hostile, [[1, 2]])
    made = platform.create

    def lost(seen: Seen, writer: Any) -> None:
        if not platform.jobs:
            platform.jobs["j0"] = 0
            writer.close()
            return
        made(seen, writer)

    hostile.routes["/jobs"] = lost
    assert len(await build(job()).read()) == 2
    # It reads only: the second one costs, and nothing comes twice.
    assert list(platform.jobs) == ["j0", "j2"]

    hostile.routes["/jobs"] = lambda seen, writer: writer.close()
    with pytest.raises(PlatintError) as caught:
        await build(job()).read()
    assert "may have made the job" in caught.value.hint
