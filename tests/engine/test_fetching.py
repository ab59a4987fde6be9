"""Events that bring some fields of a record: the whole record is fetched, and is what reading would have brought."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from engine import hooks
from engine.hooks import Webhooks, deliveries, settled
from engine.peer import Peer
from engine.support import Installation, until

from platint_tui.core.events import DeliveryState
from platint_tui.core.model import Op
from platint_tui.core.states import RunState
from platint_tui.store.ports import DeliveryFilter

SHELVES = """
  shelves:
    key: [id]
    read: {request: {path: /shelves}, records: data, page: {type: none}}
  books:
    key: [id]
    parent: {resource: shelves}
    fields: [{name: id, type: string, required: true}]
    read:
      request: {path: '/shelves/${parent.id}/books'}
      records: data
      from_parent: {shelf: id}
      skip: [{path: kind, equals: map}]
      page: {type: none}
      cursor: {field: at, type: epoch_ms, order: none}
    one:
      request: {path: '/books/${record.id}'}
      record: book
      from_event: {shelf: shelf}
      missing_when: {path: error, equals: no_such_book}
"""
TOUCHED = """    - {types: [book.deleted], resource: books, record: data, op: delete}
    - {types: ['book.*'], resource: books, record: data, partial: true}
"""
RULES = """
    - {when: {status: [429]}, class: rate_limited, action: wait, wait: {header: Retry-After, cap: 1s}}
    - {when: {status: [401]}, class: auth, action: fail_run}
    - {when: {status: [422]}, class: record, action: dead_letter}
"""


class Library:
    """A platform with books on shelves; the same texts in its list and by themselves."""

    def __init__(self) -> None:
        self.books: dict[str, str] = {}
        self.asked: list[str] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.url = ""

    def put(self, name: str, **fields: Any) -> None:
        # Spaces and a number that is no float: the record's text must come through as it is.
        inner = ", ".join(f'"{key}":  {json.dumps(value)}' for key, value in fields.items())
        self.books[name] = f'{{"id": "{name}", "price": 1.10, {inner}}}'

    async def one(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        self.asked.append(name)
        if self.status != 200:
            return web.Response(status=self.status, headers=self.headers)
        if name == "forbidden-word":
            return web.json_response({"message": "No."}, status=422)
        if name == "lost":
            return web.json_response({"error": "no_such_book"}, status=400)
        if name not in self.books:
            return web.json_response({}, status=404)
        return self._text(f'{{"book": {self.books[name]}, "more": []}}')

    async def list(self, request: web.Request) -> web.Response:
        if "shelf" in request.match_info:
            return self._text(f'{{"data": [{",".join(self.books.values())}]}}')
        return self._text('{"data": [{"id": "s1"}]}')

    def _text(self, text: str) -> web.Response:
        return web.Response(text=text, content_type="application/json")


@pytest.fixture
async def library() -> AsyncIterator[Library]:
    made = Library()
    app = web.Application()
    app.router.add_get("/books/{id}", made.one)
    app.router.add_get("/shelves", made.list)
    app.router.add_get("/shelves/{shelf}/books", made.list)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def webhooks(
    installation: Installation, peer: Peer, library: Library, monkeypatch: pytest.MonkeyPatch
) -> Webhooks:
    text = hooks.MANIFEST.replace("  notes:\n", f"{SHELVES.lstrip(chr(10))}  notes:\n", 1)
    text = text.replace("    - {types: [item.deleted]", f"{TOUCHED}    - {{types: [item.deleted]", 1)
    text = text.replace("  rules: [{when", f"  rules:{RULES}    - {{when", 1).replace(
        "then: fail_stream}]", "then: fail_stream}", 1
    )
    monkeypatch.setattr(hooks, "MANIFEST", text)
    own, peer.url = peer.url, library.url
    await hooks.prepare(installation, peer)
    peer.url = own
    return Webhooks(installation)


async def touch(webhooks: Webhooks, name: str, type: str = "book.changed") -> None:
    await webhooks.send(type, {"id": name, "shelf": "s1"})


async def test_what_an_event_brings_is_what_a_sync_brings(
    installation: Installation, library: Library, webhooks: Webhooks
) -> None:
    name = await installation.integrate(
        hooks.integration("both", {"books": "books"}, to="sqlite", kind="full")
    )
    library.put("a", title="Emma", at=100, tags=["x", {"y": None}])
    library.put("b", title=None, at=200)
    library.put("m", kind="map", at=300)
    for book in "abmab":
        await touch(webhooks, book)
    async with installation.engine():
        found = await settled(
            installation, 5, DeliveryState.DONE, DeliveryState.SKIPPED, DeliveryState.SUPERSEDED
        )
        by_events = {row["id"]: row for row in installation.table("books")}
        assert {key: (row["title"], row["price"], row["shelf"]) for key, row in by_events.items()} == {
            "a": ("Emma", 1.1, "s1"),
            "b": (None, 1.1, "s1"),
        }
        # What reading leaves out is left out here as well.
        assert [item.code for item in found if item.state is DeliveryState.SKIPPED] == ["gone"]
        run = await installation.run(name)
        assert run.state == RunState.SUCCEEDED
        assert run.streams[0].read == 2
    by_reading = {row["id"]: row for row in installation.table("books")}
    assert _records(by_reading) == _records(by_events)


def _records(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Everything but when it was written, and by which run."""
    return {
        key: {name: row[name] for name in row if name not in ("_run", "_synced_at")}
        for key, row in rows.items()
    }


async def test_a_source_that_is_away_is_waited_for(
    installation: Installation, peer: Peer, library: Library, webhooks: Webhooks
) -> None:
    """Longer than the policies of both sides allow; the target's breaker knows nothing of it."""
    await installation.integrate(hooks.integration("to-peer", {"books": "sink", "items": "sink"}))
    library.put("a", at=1)
    library.status = 503
    await touch(webhooks, "a")
    await webhooks.items(1)
    async with installation.engine():

        async def tried() -> bool:
            return len(library.asked) >= 6

        await until(tried)
        (waiting, other) = await until(lambda: _states(installation, "pending", "done"))
        assert waiting.message.startswith("The whole record is fetched later: ") and "503" in waiting.message
        assert waiting.attempts == 0 and other.attempts == 1
        assert not await installation.store.deliveries.health()
        library.status, library.headers = 429, {"Retry-After": "0"}
        asked = len(library.asked)

        async def again() -> bool:
            return len(library.asked) > asked

        await until(again)
        library.status = 200
        await settled(installation, 2)
    assert [body for _, body in peer.sent if body["id"] == "a"] == [
        {"id": "a", "price": 1.1, "at": 1, "shelf": "s1"}
    ]


async def _states(installation: Installation, *states: str) -> Any:
    found = await deliveries(installation)
    return found if [item.state for item in found] == list(states) else None


async def test_what_is_gone_is_skipped_and_what_cannot_be_fetched_is_told(
    installation: Installation, library: Library, webhooks: Webhooks
) -> None:
    await installation.integrate(hooks.integration("table", {"books": "books"}, to="sqlite"))
    library.put("a", at=1)
    for book in ("missing", "lost", "forbidden-word", "a"):
        await touch(webhooks, book)
    async with installation.engine():
        found = await settled(installation, 4, DeliveryState.DONE, DeliveryState.SKIPPED)
    assert [item.code for item in found] == ["gone", "gone", "422", ""]
    assert found[0].message.startswith("The record is no longer there")
    assert "could not be fetched" in found[2].message and "No." in found[2].message
    (alert,) = await installation.store.alerts.list()
    assert "could not be fetched" in alert.text
    assert not await installation.letters()
    assert [row["id"] for row in installation.table("books")] == ["a"]


async def test_a_credential_that_is_refused_holds_the_route(
    installation: Installation, library: Library, webhooks: Webhooks
) -> None:
    await installation.integrate(hooks.integration("table", {"books": "books"}, to="sqlite"))
    library.put("a", at=1)
    library.status = 401
    await touch(webhooks, "a")
    async with installation.engine():
        (hold,) = await until(installation.store.deliveries.holds)
        assert (hold.stream, hold.code) == ("books", "401")
        (waiting,) = await deliveries(installation)
        assert (waiting.state, waiting.attempts) == (DeliveryState.PENDING, 0)
        library.status = 200
        profile = await installation.store.profiles.get("hooks")
        assert profile is not None
        await installation.store.profiles.put(profile)
        await settled(installation, 1)


async def test_a_deleted_record_is_deleted_without_being_asked_for(
    installation: Installation, library: Library, webhooks: Webhooks
) -> None:
    await installation.integrate(hooks.integration("table", {"books": "books"}, to="sqlite"))
    library.put("a", at=1)
    await touch(webhooks, "a")
    await touch(webhooks, "a", "book.deleted")
    async with installation.engine():
        found = await settled(installation, 2)
    assert [item.op for item in found] == [Op.UPSERT, Op.DELETE]
    assert library.asked == ["a"] and not installation.table("books")


async def killed(installation: Installation, point: str) -> None:
    code, said = await asyncio.to_thread(lambda: installation.finish(PLATINT_FAILPOINT=point))
    assert code == -signal.SIGKILL, said


@pytest.mark.parametrize("target", ["sink", "mailbox"])
async def test_killed_between_fetching_and_writing(
    installation: Installation, peer: Peer, library: Library, webhooks: Webhooks, target: str
) -> None:
    """Nothing was sent before it was stored whole; a target that takes no repeats has its dead letter whole."""
    await installation.integrate(hooks.integration("to-peer", {"books": target}))
    library.put("a", title="Emma", at=1)
    await touch(webhooks, "a")
    if target == "mailbox":
        await killed(installation, "deliver.after_intent:1")
        assert not library.asked
    await killed(installation, "deliver.after_fetch:1")
    (left,) = await deliveries(installation)
    assert (left.state, left.partial, peer.sent) == (DeliveryState.SENDING, False, [])
    library.books.clear()
    async with installation.engine():
        await settled(installation, 1, DeliveryState.DONE, DeliveryState.DEAD)
    whole = {"id": "a", "price": 1.1, "title": "Emma", "at": 1, "shelf": "s1"}
    letters = await installation.letters()
    assert library.asked == ["a"]
    if target == "sink":
        assert [body for _, body in peer.sent] == [whole] and not letters
    else:
        assert not peer.sent
        (letter,) = letters
        found = await installation.store.dead_letters.get(letter.id)
        assert found is not None and json.loads(found.payload) == whole


async def test_resending_fetches_once_more(
    installation: Installation, peer: Peer, library: Library, webhooks: Webhooks
) -> None:
    from platint_tui.engine.routing import resend

    await installation.integrate(hooks.integration("to-peer", {"books": "sink"}))
    library.put("a", n=1, at=1)
    event = await webhooks.send("book.changed", {"id": "a", "shelf": "s1"})
    async with installation.engine() as engine:
        await settled(installation, 1)
        library.put("a", n=2, at=2)
        await resend(engine.context, [event], again=True)

        async def sent() -> bool:
            return len(peer.sent) == 2

        await until(sent)
        await settled(installation, 1)
    assert [body["n"] for _, body in peer.sent] == [1, 2]
    assert len({key for key, _ in peer.sent}) == 2
    assert not await installation.store.deliveries.list(DeliveryFilter(states=(DeliveryState.DEAD,)))
