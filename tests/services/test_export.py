"""Exports of dead letters and events: exact, in bounded memory, and without a secret."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from store.samples import commit, dead_letter, profile, running

from platint_tui.core.errors import ConfigError
from platint_tui.core.events import NewEvent
from platint_tui.core.exports import payload_of
from platint_tui.core.model import NewDeadLetter
from platint_tui.core.redaction import MASK
from platint_tui.services import export
from platint_tui.services.export import Exported, Form
from platint_tui.services.workspace import Workspace, open_workspace
from platint_tui.store.ports import DeadLetterFilter, EventFilter

PAYLOADS = [b'{"id":"a"}', b"\xff\x00\r\n", "=1+1 ä\u202e\x1b".encode(), b"", b'{ "id" : 1.0 }\n']
ALL = DeadLetterFilter()


@pytest.fixture
async def workspace(tmp_path: Path) -> AsyncIterator[Workspace]:
    opened = await open_workspace(environ={"PLATINT_HOME": str(tmp_path / "home")})
    yield opened
    await opened.close()


def letters(run: str) -> list[NewDeadLetter]:
    return [dead_letter(run, f'["{number}"]', payload=payload) for number, payload in enumerate(PAYLOADS)]


async def texts(
    workspace: Workspace, form: Form, where: DeadLetterFilter = ALL
) -> tuple[list[str], Exported]:
    told = Exported()
    return [text async for text in export.letters(workspace, where, form, told)], told


async def test_json_lines_give_the_same_bytes_back(workspace: Workspace) -> None:
    run = await running(workspace.store)
    await commit(workspace.store, run, 1, *letters(run.id))
    found, told = await texts(workspace, Form.JSONL)
    assert [payload_of(json.loads(line)) for line in found] == PAYLOADS and told.written == len(PAYLOADS)
    assert all(line.isascii() and "\n" not in line for line in found)
    assert json.loads(found[0])["response"] == {"status": 422} and json.loads(found[0])["bin"] == "record"


async def test_a_table_has_every_row_and_no_formula(workspace: Workspace) -> None:
    run = await running(workspace.store)
    await commit(workspace.store, run, 1, *letters(run.id))
    found, told = await texts(workspace, Form.CSV)
    rows = list(csv.DictReader(io.StringIO("\r\n".join(found), newline="")))
    assert told.written == len(rows) == len(PAYLOADS)
    assert rows[2]["payload"] == "'" + PAYLOADS[2].decode() and rows[1]["encoding"] == "base64"
    assert rows[0]["record_key"] == '["0"]' and rows[0]["first_seen"].startswith("20")


async def test_groups_of_payloads_are_bounded(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await running(workspace.store)
    for seq in range(1, 4):
        some = [dead_letter(run.id, f'["{seq}-{n}"]', payload=b"x" * 1000) for n in range(10)]
        await commit(workspace.store, run, seq, *some)
    held: list[int] = []
    whole = workspace.store.replays.whole

    async def watched(ids: list[str]) -> object:
        held.append(len(ids))
        return await whole(ids)

    monkeypatch.setattr(workspace.store.replays, "whole", watched)
    monkeypatch.setattr(export, "_BYTES", 4_500)
    found, _ = await texts(workspace, Form.JSONL)
    assert [json.loads(line)["number"] for line in found] == list(range(1, 31))
    assert max(held) == 4 and sum(held) == 30


async def test_what_the_disk_changed_is_told(workspace: Workspace) -> None:
    run = await running(workspace.store)
    await commit(workspace.store, run, 1, *letters(run.id))
    with sqlite3.connect(workspace.paths.database) as connection:
        connection.execute("UPDATE dead_letter_bodies SET payload = x'00' WHERE number = 2")
    found, told = await texts(workspace, Form.JSONL)
    assert [json.loads(line)["number"] for line in found] == [1, 3, 4, 5]
    ((why, count),) = told.left_out.items()
    assert count == 1 and "Dead letter 2 is not what was stored" in why


async def test_requests_name_the_fields_of_the_profile_and_say_what_is_missing(workspace: Workspace) -> None:
    await workspace.store.profiles.put(replace(profile("shop"), platform="demo-payments"))
    run = await running(workspace.store)
    kept = {
        "method": "POST",
        "url": f"https://api.example.com/v1/items?token={MASK}",
        "headers": {"content-type": "application/json"},
        "body": '{"a":"it\'s"}',
    }
    made = letters(run.id)
    for number, request in enumerate([kept, None, {**kept, "cut": {"size": 9000, "digest": "x"}}]):
        made[number] = replace(
            made[number], platform="demo-payments", fault=replace(made[number].fault, request=request)
        )
    await commit(workspace.store, run, 1, *made[:3])
    found, told = await texts(workspace, Form.CURL)
    assert told.written == 1 and sum(told.left_out.values()) == 2
    assert "--header 'X-Api-Key: '\"${API_KEY}\"" in found[0] and 'token="${TOKEN}"' in found[0].replace(
        "'", ""
    )
    assert "# Set API_KEY first." in found[0] and all(text.count("\n# ") >= 1 for text in found)
    assert "no request is kept" in found[1] and "too long to be kept whole" in found[2]
    assert not any(MASK in text for text in found)
    http, _ = await texts(workspace, Form.HTTP)
    assert "X-Api-Key: {{API_KEY}}" in http[0] and http[0].startswith("###\n# dead letter 1, ")
    letter = await workspace.store.dead_letters.get("2")
    assert letter is not None
    with pytest.raises(ConfigError, match="nothing to send"):
        await export.curl_of(workspace, letter)


async def test_the_request_of_before_an_edit_is_not_given_out_as_that_of_the_edit(
    workspace: Workspace,
) -> None:
    run = await running(workspace.store)
    kept = {"method": "POST", "url": "https://api.example.com/v1/items", "headers": {}, "body": "old"}
    (made, *_) = letters(run.id)
    await commit(workspace.store, run, 1, replace(made, fault=replace(made.fault, request=kept)))
    original = await workspace.store.dead_letters.get("1")
    assert original is not None
    edit = await workspace.store.dead_letters.edit(original.id, b'{"id":"new"}', '["new"]', "hash")
    found, told = await texts(workspace, Form.CURL)
    assert told.written == 1 and "--data-raw old" in found[0]
    assert "--data-raw" not in found[1] and "it was edited since" in found[1]
    with pytest.raises(ConfigError, match="it was edited since"):
        await export.curl_of(workspace, edit)


async def test_events_are_exact_and_go_to_the_receiver(workspace: Workspace) -> None:
    bodies = [b'{"a":1}', b"\x00\xff"]
    new = [
        NewEvent(
            *("shop", "payments", f"evt_{n}", "a.b", "", None, 5, "POST", "/webhooks/shop"),
            (("Content-Type", "application/json"), ("X-Signature", "v1=secret")),
            body,
        )
        for n, body in enumerate(bodies)
    ]
    await workspace.store.events.ingest(new)
    ids = [
        row.id
        for row in await workspace.store.events.rows(await workspace.store.events.numbers(EventFilter()))
    ]

    async def written(form: Form) -> list[str]:
        return [text async for text in export.event_texts(workspace, ids, form, Exported())]

    assert [payload_of(json.loads(line)) for line in await written(Form.JSONL)] == bodies
    curl = await written(Form.CURL)
    assert "http://127.0.0.1:8787/webhooks/shop" in curl[0] and "v1=secret" not in "".join(curl)
    assert "printf '\\000\\377' | curl" in curl[1]
    assert "cannot stand in an HTTP file" in (await written(Form.HTTP))[1]


async def test_M10_a_file_that_cannot_be_finished_is_taken_away(tmp_path: Path) -> None:
    async def lines(fail: bool) -> AsyncIterator[str]:
        yield "one"
        if fail:
            raise ConfigError("The store is gone.")
        yield "two"

    path = tmp_path / "a.jsonl"
    with pytest.raises(ConfigError, match="store is gone"):
        await export.write_new(path, lines(True))
    assert not path.exists()
    assert await export.write_new(path, lines(False)) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and path.read_text() == "one\ntwo\n"
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    for place in (path, link, tmp_path / "missing" / "a"):
        with pytest.raises(ConfigError, match="Cannot write"):
            await export.write_new(place, lines(False))
    assert path.read_text() == "one\ntwo\n" and not (tmp_path / "elsewhere").exists()
