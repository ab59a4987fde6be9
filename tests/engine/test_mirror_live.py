"""Whole syncs from a table of PostgreSQL to mirrors of it: by blocks, and row by row where a block is refused."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from engine.support import Installation
from peers.postgres import PostgresServer

from platint_tui.core.states import RunState
from platint_tui.services import syncs
from platint_tui.services.account import account
from platint_tui.services.workspace import open_workspace

ROWS = 12_000
COPY = """
integration: copy
platforms:
  - {{name: postgresql, profile: shop, type: sync, endpoints: [orders]}}
  - {{name: {platform}, profile: {profile}, type: sync}}
sync_frequency: on_demand
streams:
  orders: {{target: copies, mode: {mode}}}
"""


@pytest.fixture
async def shop(postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """A schema with a filled table, and one for the copies."""
    monkeypatch.setenv("PG_PASSWORD", postgres_server.password)
    admin = await asyncpg.connect(postgres_server.dsn, ssl=False)
    await admin.execute(
        "DROP SCHEMA IF EXISTS shop, copies CASCADE; CREATE SCHEMA shop; CREATE SCHEMA copies;"
        " CREATE TABLE shop.orders (id bigint PRIMARY KEY, name text, fee numeric(8,2), at timestamptz);"
        f" INSERT INTO shop.orders SELECT n, 'order ' || n, n / 8.0, now() FROM generate_series(1, {ROWS}) n"
    )
    yield admin
    await admin.execute("DROP SCHEMA shop, copies CASCADE")
    await admin.close()


async def set_up(
    installation: Installation, server: PostgresServer, platform: str, mode: str = "snapshot"
) -> str:
    installation.environ["PG_PASSWORD"] = server.password
    place = {"host": server.host, "port": str(server.port), "database": server.database, "user": server.user}
    for name, schema in (("shop", "shop"), ("copies", "copies")):
        fields = {**place, "schema": schema, "tls": "disable"}
        await installation.profile(name, "postgresql", fields, {"password": "env:PG_PASSWORD"})
    await installation.profile("warehouse", "sqlite", {"path": str(installation.warehouse)})
    async with installation.engine():
        answer = await installation.call("discover", profile="shop")
        assert answer.state == "done", answer.error
    profile = "copies" if platform == "postgresql" else "warehouse"
    return await installation.integrate(COPY.format(platform=platform, profile=profile, mode=mode))


@pytest.mark.parametrize("point", ["before_write", "after_target_commit"])
async def test_A3_killed_between_the_commits_the_copy_is_the_same(
    installation: Installation, postgres_server: PostgresServer, shop: asyncpg.Connection[Any], point: str
) -> None:
    name = await set_up(installation, postgres_server, "postgresql")
    await installation.submit("run", integration=name, streams=[])
    code, said = installation.finish(PLATINT_FAILPOINT=f"{point}:2")
    assert code == -9, said[-2000:]
    code, said = installation.finish()
    assert code == 0, said[-2000:]
    [run] = await installation.store.runs.list()
    [stream] = run.streams
    assert run.state is RunState.SUCCEEDED and not await installation.letters()
    assert stream.read == stream.written >= ROWS
    differing = "SELECT count(*) FROM (SELECT * FROM shop.orders EXCEPT SELECT id, name, fee, at FROM copies.copies) q"
    assert await shop.fetchval(differing) == 0
    assert await shop.fetchval("SELECT count(*) FROM copies.copies") == ROWS
    columns = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'copies' AND table_name = 'copies'"
    assert await shop.fetchval(columns) == 6  # those of the source, _version and _synced_at


@pytest.mark.parametrize("platform", ["postgresql", "sqlite"])
async def test_a_row_that_the_copy_refuses_becomes_a_dead_letter_and_the_account_says_so(
    installation: Installation, postgres_server: PostgresServer, shop: asyncpg.Connection[Any], platform: str
) -> None:
    name = await set_up(installation, postgres_server, platform)
    async with installation.engine():
        run = await installation.run(name)
        assert (run.state, run.streams[0].written) == (RunState.SUCCEEDED, ROWS)
        await shop.execute(
            "UPDATE shop.orders SET name = 'bad' WHERE id = 7000; INSERT INTO shop.orders VALUES (0)"
        )
        if platform == "postgresql":
            await shop.execute("ALTER TABLE copies.copies ADD CONSTRAINT good CHECK (name <> 'bad')")
        else:
            with sqlite3.connect(installation.warehouse) as connection:
                refused = "BEGIN SELECT RAISE(ABORT, 'bad'); END"
                connection.execute(
                    f"CREATE TRIGGER good BEFORE INSERT ON copies WHEN NEW.name = 'bad' {refused}"
                )
            connection.close()
        run = await installation.run(name)
    [stream] = run.streams
    assert (stream.read, stream.written, stream.dead_lettered) == (ROWS + 1, ROWS, 1)
    [letter] = await installation.letters()
    assert letter.record_key == "[7000]" and letter.code == "constraint"
    workspace = await open_workspace(environ=installation.environ)
    try:
        (found,) = await account(workspace, await syncs.find(workspace, name))
    finally:
        await workspace.close()
    # The row of the key is there as it was; its newer content waits in the inbox.
    assert (found.source, found.in_target, found.lost, found.stale) == (ROWS + 1, ROWS + 1, 0, None)


async def test_changes_deletes_and_a_truncate_reach_the_copy(
    installation: Installation, postgres_server: PostgresServer, shop: asyncpg.Connection[Any]
) -> None:
    name = await set_up(installation, postgres_server, "postgresql", mode="cdc")
    left, right = (
        f"SELECT md5(string_agg(q::text, '' ORDER BY id)) FROM (SELECT id, name, fee, at FROM {table}) q"
        for table in ("shop.orders", "copies.copies")
    )
    try:
        async with installation.engine():
            for change in (
                "SELECT 1",
                "UPDATE shop.orders SET name = 'changed', fee = NULL WHERE id % 100 = 0;"
                " DELETE FROM shop.orders WHERE id % 100 = 1; INSERT INTO shop.orders VALUES (-1, 'new', 1.50)",
                "TRUNCATE shop.orders; INSERT INTO shop.orders VALUES (5, 'five', 0.10)",
            ):
                await shop.execute(change)
                run = await installation.run(name)
                assert run.state is RunState.SUCCEEDED and not await installation.letters()
                assert await shop.fetchval(left) == await shop.fetchval(right)
    finally:
        await shop.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active"
        )
