"""A write that is answered with 303 was carried out, whatever becomes of the question for its result."""

from __future__ import annotations

import asyncio

import pytest

from platint_tui.core.model import Batch, Row, TargetPlan, WriteResult
from tests.http.hostile import Build, Hostile, Rig, Seen, answer, merged

CREATE = {"resources": {"items": {"write": {"create": {"path": "/w"}}}}}
UPSERT = {"resources": {"items": {"write": {"upsert": {"path": "/w"}}}}}


async def write(rig: Rig) -> WriteResult:
    plan = TargetPlan("sync", "stream", "items", ("id",), None, (), 1, "run")
    target = await rig.driver.open_target(plan)
    return await target.write(Batch([Row("[1]", "{}", {"id": 1}, None, "key-1")], None))


def see_other(hostile: Hostile, location: str) -> list[Seen]:
    """POSTs to /w are answered with 303; the list of them."""
    posts: list[Seen] = []

    def handle(seen: Seen, writer: asyncio.StreamWriter) -> None:
        posts.append(seen)
        writer.write(answer(303, None, {"Location": location}))

    hostile.routes["/w"] = handle
    return posts


async def unknown(rig: Rig, posts: list[Seen]) -> None:
    result = await write(rig)
    assert result.written == 0 and [fault.code for _, fault in result.faults] == ["unknown_outcome"]
    assert len(posts) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 409, 429, 500, 503])
async def test_a_refused_question_for_the_result(build: Build, hostile: Hostile, status: int) -> None:
    posts = see_other(hostile, "/status")
    hostile.json("/status", {"message": "no"}, status=status)
    await unknown(build(CREATE), posts)


@pytest.mark.parametrize(
    "rule", [{"class": "record", "action": "ignore"}, {"class": "systemic", "action": "fail_stream"}]
)
async def test_no_rule_makes_it_sure(build: Build, hostile: Hostile, rule: dict[str, str]) -> None:
    posts = see_other(hostile, "/status")
    hostile.json("/status", {"message": "no"}, status=404)
    await unknown(
        build(merged(CREATE, {"errors": {"rules": [{"when": {"status": [404], "op": "write"}, **rule}]}})),
        posts,
    )


async def test_nobody_answers_the_question(build: Build, hostile: Hostile, other: Hostile) -> None:
    await other.stop()
    posts = see_other(hostile, f"{other.url}/status")
    hosts = {"transport": {"allowed_hosts": ["${profile.base_url}", f"127.0.0.1:{other.port}"]}}
    await unknown(build(merged(CREATE, hosts)), posts)


@pytest.mark.parametrize("location", ["https://elsewhere.example.com/x", "", "ftp://x"])
async def test_the_result_is_where_nobody_asks(build: Build, hostile: Hostile, location: str) -> None:
    await unknown(build(CREATE), see_other(hostile, location))


async def test_a_result_that_cannot_be_found_in_five_steps(build: Build, hostile: Hostile) -> None:
    posts = see_other(hostile, "/status")
    hostile.json("/status", None, status=302, headers={"Location": "/status"})
    await unknown(build(CREATE), posts)


async def test_a_result_is_the_answer_of_the_write(build: Build, hostile: Hostile) -> None:
    posts = see_other(hostile, "/status")
    hostile.json("/status", {"id": 1})
    assert (await write(build(CREATE))).written == 1 and len(posts) == 1


async def test_a_write_that_may_be_repeated_is(build: Build, hostile: Hostile) -> None:
    posts = see_other(hostile, "/status")
    replies = [answer(503, {}), answer(200, {"id": 1})]
    hostile.routes["/status"] = lambda seen, writer: writer.write(replies.pop(0))
    assert (await write(build(UPSERT))).written == 1 and len(posts) == 2


async def test_a_write_that_was_sent_on_and_refused_was_not_carried_out(
    build: Build, hostile: Hostile
) -> None:
    """307 asks for the same request elsewhere: its own answer says what became of it."""
    hostile.json("/w", None, status=307, headers={"Location": "/there"})
    hostile.json("/there", {"message": "bad"}, status=422)
    result = await write(build(CREATE))
    assert [fault.code for _, fault in result.faults] != ["unknown_outcome"] and result.written == 0
