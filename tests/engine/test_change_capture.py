"""Changes of a PostgreSQL database in another one and in SQLite, while pgbench writes and everybody is killed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from engine.support import Installation, until
from peers.postgres import PostgresServer

from platint_tui.core.states import RunState

CHANGES = """
integration: changes
platforms:
  - {name: postgresql, profile: bank, type: sync, endpoints: [pgbench_accounts, pgbench_tellers]}
  - {name: PLATFORM, profile: TARGET, type: sync}
sync_frequency: FREQUENCY
streams:
  pgbench_accounts: {target: accounts, mode: cdc}
  pgbench_tellers: {target: tellers, mode: cdc}
"""


@pytest.fixture(scope="module")
def bank() -> Iterator[PostgresServer]:
    """A server of its own, because it is killed."""
    server = PostgresServer()
    yield server
    server.stop()


async def sql(server: PostgresServer, database: str, *statements: str) -> list[Any]:
    connection = await asyncpg.connect(
        host=server.host, port=server.port, user=server.user, password=server.password, database=database
    )
    try:
        rows: list[Any] = []
        for statement in statements:
            rows = await connection.fetch(statement)
        return rows
    finally:
        await connection.close()


def pgbench(server: PostgresServer, database: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            server.tool("pgbench"),
            "-h",
            server.host,
            "-p",
            str(server.port),
            "-U",
            server.user,
            *arguments,
            database,
        ],
        env={**os.environ, **server.client_environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


async def set_up(installation: Installation, server: PostgresServer, database: str, text: str) -> str:
    """A database with the tables of pgbench (10,000 accounts), profiles `bank` and the target, the integration."""
    await sql(server, "postgres", f"CREATE DATABASE {database}", f"CREATE DATABASE {database}_copy")
    assert pgbench(server, database, "-i", "-q", "-s", "1", "--no-vacuum").wait(60) == 0
    await sql(server, database, "DELETE FROM pgbench_accounts WHERE aid > 10000")
    for name, of in (("bank", database), ("copy", f"{database}_copy")):
        fields = {
            "host": server.host,
            "port": str(server.port),
            "user": server.user,
            "database": of,
            "tls": "disable",
        }
        await installation.profile(name, "postgresql", fields, {"password": "env:BANK_PASSWORD"})
    await installation.profile("warehouse", "sqlite", {"path": str(installation.warehouse)})
    installation.environ["BANK_PASSWORD"] = server.password
    return await installation.integrate(text)


WANTED = "SELECT aid, bid, abalance, filler FROM pgbench_accounts ORDER BY aid"


async def in_copy(server: PostgresServer, database: str) -> list[tuple[Any, ...]]:
    rows = await sql(
        server, f"{database}_copy", "SELECT aid, bid, abalance, filler FROM accounts ORDER BY aid"
    )
    return [tuple(row) for row in rows]


async def in_source(server: PostgresServer, database: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await sql(server, database, WANTED)]


async def test_A3_while_pgbench_writes_and_the_engine_and_the_server_are_killed(
    installation: Installation, bank: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BANK_PASSWORD", bank.password)
    text = (
        CHANGES.replace("PLATFORM", "postgresql").replace("TARGET", "copy").replace("FREQUENCY", "real_time")
    )
    name = await set_up(installation, bank, "killed", text)
    async with installation.engine():
        found = await installation.call("discover", profile="bank")
        assert found.state == "done", found.error
    answer = await installation.submit("run", integration=name, streams=[])
    code, said = installation.finish(PLATINT_FAILPOINT="after_target_commit:2")
    assert code == -9, said[-2000:]
    load = pgbench(bank, "killed", "-c", "2", "-t", "400", "-n")
    code, said = installation.finish(PLATINT_FAILPOINT="before_store_commit:4")
    assert code == -9, said[-2000:]
    load.wait(60)
    async with installation.engine() as engine:
        load = pgbench(bank, "killed", "-c", "2", "-t", "300", "-n")
        await sql(
            bank,
            "killed",
            "DELETE FROM pgbench_accounts WHERE aid % 100 = 7",
            "UPDATE pgbench_accounts SET aid = aid + 1000000 WHERE aid % 100 = 8",
        )
        load.wait(60)
        bank.kill()
        bank.start_again()
        await sql(bank, "killed", "UPDATE pgbench_accounts SET filler = 'after the crash' WHERE aid < 50")

        async def agrees() -> bool:
            return await in_copy(bank, "killed") == await in_source(bank, "killed")

        await until(agrees)
        [run] = await installation.store.runs.list()
        assert run.state == RunState.RUNNING, run
        await engine.context.telemetry.flush()
        lags = await installation.store.metrics.lags(0)
        assert lags["changes/pgbench_accounts"].count > 0
        await installation.call("cancel", run=run.id)
        await installation.ended(run.id)
        await installation.call("release", integration=name, streams=[])
    slots = await sql(bank, "killed", "SELECT slot_name FROM pg_replication_slots WHERE database = 'killed'")
    assert slots == [], answer


async def test_deletes_and_a_truncate_reach_sqlite(
    installation: Installation, bank: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BANK_PASSWORD", bank.password)
    text = (
        CHANGES.replace("PLATFORM", "sqlite").replace("TARGET", "warehouse").replace("FREQUENCY", "on_demand")
    )
    name = await set_up(installation, bank, "files", text)
    async with installation.engine():
        await installation.call("discover", profile="bank")
        run = await installation.run(name)
        assert run.state == RunState.SUCCEEDED, run
        assert len(installation.table("accounts")) == 10_000
        await sql(
            bank,
            "files",
            "DELETE FROM pgbench_accounts WHERE aid > 10",
            "UPDATE pgbench_accounts SET abalance = 5",
            "TRUNCATE pgbench_tellers",
            "INSERT INTO pgbench_tellers VALUES (77, 1, 3, 'new')",
        )
        run = await installation.run(name)
        assert run.state == RunState.SUCCEEDED, run
        await installation.call("release", integration=name, streams=[])
    assert sorted((row["aid"], row["abalance"]) for row in installation.table("accounts")) == [
        (number, 5) for number in range(1, 11)
    ]
    assert [row["tid"] for row in installation.table("tellers")] == [77]


async def test_a_dropped_slot_asks_and_a_new_snapshot_makes_it_good(
    installation: Installation, bank: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BANK_PASSWORD", bank.password)
    text = (
        CHANGES.replace("PLATFORM", "sqlite").replace("TARGET", "warehouse").replace("FREQUENCY", "on_demand")
    )
    name = await set_up(installation, bank, "dropped", text)
    async with installation.engine():
        await installation.call("discover", profile="bank")
        assert (await installation.run(name)).state == RunState.SUCCEEDED
        await sql(
            bank,
            "dropped",
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = 'dropped'",
            "UPDATE pgbench_tellers SET tbalance = 9",
        )
        run = await installation.run(name)
        assert {item.error_code for item in run.streams} == {"position_lost"}, run
        for stream in ("pgbench_accounts", "pgbench_tellers"):
            done = await installation.call("recover", integration=name, stream=stream, how="resnapshot")
            assert done.state == "done", done.error
        run = await installation.run(name)
        assert run.state == RunState.SUCCEEDED, run
        await installation.call("release", integration=name, streams=[])
    assert {row["tbalance"] for row in installation.table("tellers")} == {9}
