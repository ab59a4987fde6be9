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
from platint_tui.services import deadletters, edits, profiles, syncs
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
        await edits.edit(workspace, made.id, '{"owner":{"name":"x"}}')
    child = await edits.edit(workspace, made.id, '{"owner":{"id":5}}')
    assert child.record_key == "[5]"


async def test_another_key_into_a_filled_target_is_refused(workspace: Workspace) -> None:
    await imported(workspace, "first", "customers")
    assert await imported(workspace, "first", "customers", key="email") == [], "nothing is there yet"
    await workspace.store.runs.restore_position(SyncState("bills", "customers", 7, {"v": 1}, None, None, 1))
    with pytest.raises(ConfigError, match="goes from email to id, but 'customers' holds its rows"):
        await imported(workspace, "first", "customers", key="id")
    stored = await workspace.store.integrations.get("bills")
    assert stored is not None and stored.streams[0].key == ("email",)


async def test_a_profile_that_is_another_account_now_is_read_from_the_beginning(workspace: Workspace) -> None:
    told: list[str] = []

    async def add(port: int, *, same_account: bool = False) -> None:
        await profiles.add(
            workspace,
            name="first",
            platform="demo-payments",
            environment="sandbox",
            values={"base_url": f"http://127.0.0.1:{port}"},
            secrets={"api_key": "env:KEY"},
            replace_existing=True,
            same_account=same_account,
            tell=told.append,
        )

    await add(4001)
    await imported(workspace, "first", "customers")
    state = SyncState("bills", "customers", 7, {"v": 1}, None, None, 1)
    await workspace.store.runs.restore_position(state)
    await add(4001)
    await add(4002, same_account=True)
    assert told == [] and await workspace.store.runs.sync_state("bills", "customers") is not None
    await add(4003)
    assert told == ["'bills/customers' is read from the beginning: 'first' is another account now."]
    assert await workspace.store.runs.sync_states() == []


async def test_a_profile_in_use_by_a_run_is_not_made_another_account(workspace: Workspace) -> None:
    await imported(workspace, "first", "customers")
    integration = await workspace.store.integrations.get("bills")
    assert integration is not None
    await workspace.store.runs.restore_position(SyncState("bills", "customers", 7, {"v": 1}, None, None, 1))
    await workspace.store.runs.create(integration, ["customers"], "manual")
    with pytest.raises(ConfigError, match="Run 1 of 'bills' is queued"):
        await syncs.restart_users(workspace, "first", "demo-payments")
    assert await workspace.store.runs.sync_state("bills", "customers") is not None
