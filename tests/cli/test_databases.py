"""Databases by the command line: discover, plan, run, account, edit, replay, remove; what is wrong is told."""

from __future__ import annotations

from pathlib import Path

from cli.kit import Cli
from peers.postgres import PostgresServer

FILE = """
integration: shop
platforms:
  - {name: postgresql, profile: shop, type: sync, endpoints: [people, notes]}
  - {name: postgresql, profile: copy, type: sync}
streams:
  people: {mode: cdc}
"""


def add(cli: Cli, server: PostgresServer, name: str, database: str, **more: str) -> None:
    fields = {
        "host": server.host,
        "port": str(server.port),
        "database": database,
        "user": server.user,
        **more,
    }
    given = [
        word
        for field, value in {**fields, "tls": "disable"}.items()
        for word in ("--field", f"{field}={value}")
    ]
    cli("profiles", "add", "postgresql", "--name", name, "--environment", "sandbox", *given,
        "--secret-from", "password=env:PG_PASSWORD", code=0)  # fmt: skip


def test_from_discovery_to_removal(cli: Cli, postgres_server: PostgresServer, tmp_path: Path) -> None:
    server = postgres_server
    cli = cli.with_env(PG_PASSWORD=server.password)
    server.psql("CREATE SCHEMA cli_db; CREATE SCHEMA cli_db_copy")
    server.psql("CREATE TABLE cli_db.people (id int PRIMARY KEY, name text, born date)")
    server.psql("CREATE TABLE cli_db.notes (text text)")
    server.psql(
        "INSERT INTO cli_db.people SELECT n, 'name ' || n, '2000-01-01' FROM generate_series(1, 50) n"
    )
    server.psql("INSERT INTO cli_db.notes VALUES ('a'), ('b')")
    add(cli, server, "shop", server.database, schema="cli_db")
    add(cli, server, "copy", server.database, schema="cli_db_copy")
    path = tmp_path / "shop.yaml"
    path.write_text(FILE)
    refused = cli("syncs", "run", path, code=4)
    assert "known after a discovery only" in refused.err and "platint-tui discover shop" in refused.err

    found = {item["name"]: item for item in cli.json("discover", "shop")["streams"]}
    assert found["people"]["key"] == ["id"] and found["people"]["modes"] == ["snapshot", "cursor", "cdc"]
    planned = {item["stream"]: item for item in cli.json("syncs", "plan", path)}
    assert 'PRIMARY KEY ("id")' in planned["people"]["changes"][0]["statement"]
    run = cli.json("syncs", "run", "shop")
    assert {item["stream"]: item["written"] for item in run["streams"]} == {"people": 50, "notes": 2}
    assert all(not item["changes"] for item in cli.json("syncs", "plan", "shop"))

    server.psql(
        "UPDATE cli_db.people SET name = 'changed' WHERE id <= 5; DELETE FROM cli_db.people WHERE id > 40"
    )
    # The copy demands what the source does not: such a row is a dead letter, the others are written.
    server.psql("ALTER TABLE cli_db_copy.people ADD CHECK (name <> 'bad')")
    server.psql("UPDATE cli_db.people SET name = 'bad' WHERE id = 7")
    run = cli.json("syncs", "run", "shop", code=3)
    account = {item["stream"]: item for item in cli.json("syncs", "account", "shop")}
    assert (account["people"]["source"], account["people"]["lost"]) == (40, 0)
    assert (account["notes"]["source"], account["notes"]["lost"]) == (2, 0)

    [letter] = cli.json("dead", "list")
    assert letter["record_key"] == "[7]"
    edited = cli.json("dead", "edit", str(letter["number"]), "--set", 'name="good"')
    assert edited["record_key"] == "[7]", "the key of a table is known from its discovery"
    cli("dead", "replay", str(edited["number"]), "--yes", code=0)
    assert server.psql("SELECT name FROM cli_db_copy.people WHERE id = 7").strip() == "good"

    assert (
        server.psql("SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'platint%shop%'").strip()
        == "1"
    )
    # A stream that leaves the file gives back what the server kept for it, and so does the integration itself.
    path.write_text(FILE.replace("endpoints: [people, notes]", "endpoints: [notes]").split("streams:")[0])
    cli("syncs", "run", path, code=0)
    assert slots(server) == "0"
    path.write_text(FILE)
    cli("syncs", "run", path, code=3)  # the row that the copy refuses
    assert slots(server) == "1"
    cli("syncs", "remove", "shop", "--yes", code=0)
    assert slots(server) == "0"
    server.psql("DROP SCHEMA cli_db CASCADE; DROP SCHEMA cli_db_copy CASCADE")


def slots(server: PostgresServer) -> str:
    """How many replication slots the sync has."""
    return server.psql(
        "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'platint%shop%'"
    ).strip()


def test_a_wrong_password_and_a_missing_database_are_told(cli: Cli, postgres_server: PostgresServer) -> None:
    cli = cli.with_env(PG_PASSWORD="wrong-canary-9d21")
    add(cli, postgres_server, "wrong", postgres_server.database)
    failed = cli("profiles", "test", "wrong", code=5)
    assert "refuses the sign-in" in failed.said and "wrong-canary" not in failed.said
    cli = cli.with_env(PG_PASSWORD=postgres_server.password)
    add(cli, postgres_server, "nowhere", "no_such_database")
    assert "no database 'no_such_database'" in cli("discover", "nowhere", code=4).err


def test_how_a_stream_is_read_is_checked_with_its_place(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(FILE.replace("{mode: cdc}", "{mode: consume, on_lost: guess}"))
    refused = cli("syncs", "run", path, code=4)
    assert "on_lost: 'guess' is not ask, resnapshot, skip or stop" in refused.err
    path.write_text(FILE.replace("{mode: cdc}", "{mode: consume}"))
    refused = cli("syncs", "run", path, code=4)
    assert "consume is no way to read PostgreSQL, only snapshot, cursor or cdc" in refused.err
    path.write_text(FILE.replace("{mode: cdc}", "{mode: cdc, cursor: born}"))
    assert "cursor: goes with mode: cursor" in cli("syncs", "run", path, code=4).err
    path.write_text(FILE.replace("{mode: cdc}", "{mode: cursor}"))
    assert "cursor needs `cursor`" in cli("syncs", "run", path, code=4).err
