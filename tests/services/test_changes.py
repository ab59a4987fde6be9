"""Use cases over a store of their own: what a change of a file or of a payload does to what is kept."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from platint_tui.core.errors import ConfigError, ErrorClass
from platint_tui.core.jsontext import content_hash
from platint_tui.core.model import Counters, DeadLetter, Fault, NewDeadLetter, SyncState
from platint_tui.core.states import RunState
from platint_tui.services import deadletters, syncs
from platint_tui.services.workspace import Workspace, open_workspace

FILE = """
integration: bills
integration_type: data_sync
platforms:
  - {{name: demo-payments, profile: {source}, type: api, endpoints: [{names}]}}
  - {{name: sqlite, profile: warehouse, type: sync}}
sync_direction: source_to_target
sync_frequency: on_demand
error_strategy: dead_letter
streams:
{streams}
"""


@pytest.fixture
async def workspace(home: Path) -> AsyncIterator[Workspace]:
    """An empty installation."""
    opened = await open_workspace(environ=dict(os.environ))
    try:
        yield opened
    finally:
        await opened.close()


async def imported(workspace: Workspace, source: str, *names: str, key: str = "id") -> list[str]:
    """Import a file of these streams; the sentences that were told."""
    told: list[str] = []
    streams = "\n".join(f"  {name}: {{target: {name}, key: [{key}]}}" for name in names)
    path = workspace.paths.config / "bills.yaml"
    path.write_text(FILE.format(source=source, names=", ".join(names), streams=streams))
    await syncs.import_file(workspace, path, told.append)
    return told


async def test_a_stream_that_comes_back_for_another_account_is_read_from_the_beginning(
    workspace: Workspace,
) -> None:
    await imported(workspace, "first", "customers", "charges")
    runs = workspace.store.runs
    for stream in ("customers", "charges"):
        await runs.restore_position(SyncState("bills", stream, 7, {"v": 1}, None, None, 1))
    assert await imported(workspace, "first", "customers") == []
    assert len(await imported(workspace, "second", "customers")) == 1
    (told,) = await imported(workspace, "second", "customers", "charges")
    assert told.startswith("'charges' is read from the beginning")
    assert await runs.sync_states() == []


async def letter(workspace: Workspace, payload: str) -> DeadLetter:
    """One dead letter of the stream `customers`."""
    integration = await workspace.store.integrations.get("bills")
    assert integration is not None
    runs = workspace.store.runs
    await runs.create(integration, ["customers"], "manual")
    run = await runs.claim("worker")
    assert run is not None
    await runs.move_stream(run.id, run.epoch, "customers", RunState.RUNNING)
    new = NewDeadLetter(
        profile="warehouse",
        platform="sqlite",
        integration="bills",
        stream="customers",
        run=run.id,
        manifest_version="1.0.0",
        record_key="",
        payload=payload.encode(),
        content_hash=content_hash(payload),
        idempotency_key="key",
        fingerprint="f",
        fault=Fault(ErrorClass.RECORD, "key", "No key."),
    )
    await runs.commit_page(
        run.id,
        run.epoch,
        "customers",
        seq=1,
        confirmed={"v": 1},
        counters=Counters(read=1, dead_lettered=1, pages=1),
        dead_letters=[new],
        written_keys=[],
    )
    return (await deadletters.show(workspace, "1")).letter


async def test_an_edit_is_known_by_the_key_under_which_it_will_be_written(workspace: Workspace) -> None:
    await imported(workspace, "first", "customers", key="owner.id")
    made = await letter(workspace, '{"owner":{}}')
    with pytest.raises(ConfigError, match=r"owner\.id"):
        await deadletters.edit(workspace, made.id, '{"owner":{"name":"x"}}')
    child = await deadletters.edit(workspace, made.id, '{"owner":{"id":5}}')
    assert child.record_key == "[5]"
