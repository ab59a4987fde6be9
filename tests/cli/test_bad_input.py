"""Whatever is wrong: one sentence that says what to do, the right exit code, nothing lost, no traceback."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from cli.kit import (
    Cli,
    Done,
    Platforms,
    add_payments,
    add_warehouse,
    counts,
    lost,
    one_sentence,
    platforms,
    rows,
    write_integration,
)
from cli.peer import TOKEN, Peer, write_manifest
from peers.postgres import PostgresServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platforms]:
    """Well-behaved demo platforms: 12 customers, 50 charges."""
    with platforms(tmp_path_factory.mktemp("platforms"), records=50) as running:
        yield running


class Ready(NamedTuple):
    cli: Cli
    folder: Path


@pytest.fixture(scope="module")
def ready(make_cli: Callable[..., Cli], server: Platforms, tmp_path_factory: pytest.TempPathFactory) -> Ready:
    """An installation with the profiles payments and warehouse, that the tests of this module share."""
    folder = tmp_path_factory.mktemp("work")
    cli = make_cli("shared")
    add_payments(cli, server)
    add_warehouse(cli, folder / "warehouse.sqlite")
    return Ready(cli, folder)


def narrated(done: Done) -> Done:
    """What a run says after its last progress line."""
    head, _, rest = done.err.partition("\n")
    assert head.startswith("run "), done.said
    return Done(done.args, done.code, "", rest)


# --- words ---------------------------------------------------------------------------------------------------


def test_an_unknown_platform(cli: Cli) -> None:
    one_sentence(cli("profiles", "add", "strpe", code=4), 4, "did you mean 'stripe'?")
    one_sentence(cli("connectors", "show", "githb", code=4), 4, "did you mean 'github'?")
    one_sentence(cli("connectors", "explain", "github.isues", code=4), 4, "did you mean 'issues'?")
    one_sentence(cli("connectors", "explain", "github", code=2), 2, "PLATFORM.STREAM")


def test_unknown_names(ready: Ready) -> None:
    cli, _ = ready
    one_sentence(cli("profiles", "show", "nobody", code=4), 4, "no profile 'nobody'", "payments")
    one_sentence(cli("profiles", "test", "nobody", code=4), 4, "no profile 'nobody'")
    one_sentence(cli("discover", "nobody", code=4), 4, "no profile 'nobody'")
    one_sentence(cli("syncs", "run", "nothing", code=4), 4, "no integration 'nothing'", ".yaml")
    one_sentence(cli("runs", "show", "77", code=4), 4, "no run '77'", "runs list")
    one_sentence(cli("syncs", "run", "no/such.yaml", code=4), 4, "no/such.yaml", "cannot be read")
    one_sentence(cli("metrics", "--since", "5q", code=2), 2, "'5q'", "1h30m")


def test_forms_that_are_filled_in_wrongly(ready: Ready, server: Platforms) -> None:
    cli, _ = ready
    url = server.urls["payments"]
    by_env = ("--secret-from", "api_key=env:PAYMENTS_KEY")
    add = ("profiles", "add", "demo-payments", "--name", "wrong")
    for code, arguments, needles in (
        (4, ("--field", f"base_url={url}"), ("api_key", "is missing", "stdin", "--secret-from")),
        (4, ("--field", f"base_ur={url}", *by_env), ("base_ur", "did you mean 'base_url'?")),
        (4, ("--field", "base_url=ftp://127.0.0.1", *by_env), ("base_url", "https://")),
        (4, ("--field", "base_url=http://example.com", *by_env), ("base_url", "https")),
        (4, by_env, ("base_url", "is missing")),
        (2, ("--field", "base_url", *by_env), ("ID=VALUE",)),
        (4, ("--field", f"base_url={url}", "--environment", "prod", *by_env), ("'prod'", "sandbox")),
        (4, ("--field", f"base_url={url}", "--secret-from", "api_key=PAYMENTS_KEY"), ("api_key", "env:NAME")),
        (4, ("--field", f"base_url={url}", "--secret-from", "api_key=file:key"), ("api_key", "file:/path")),
        (2, ("--field", f"base_url={url}", "--secret-from", "PAYMENTS_KEY"), ("ID=env:NAME",)),
    ):
        one_sentence(cli(*add, *arguments, code=code), code, *needles)
    for name in ("../x", "x" * 65):
        done = cli("profiles", "add", "sqlite", f"--name={name}", "--field", "path=/tmp/x.sqlite", code=None)
        one_sentence(done, 4, "is not a profile name")
    one_sentence(
        cli("profiles", "add", "sqlite", "--name", "payments", "--field", "path=/x", code=4), 4, "already"
    )
    assert not {"wrong", "x"} & {item["name"] for item in cli.json("profiles", "list")}


def test_a_secret_as_an_argument_is_refused(ready: Ready, server: Platforms) -> None:
    cli, _ = ready
    secret = "argument-canary-51f3"
    done = cli(
        *("profiles", "add", "demo-payments", "--name", "wrong"),
        *("--field", f"base_url={server.urls['payments']}", "--field", f"api_key={secret}"),
        code=2,
    )
    assert secret not in one_sentence(done, 2, "'api_key' is a secret", "stdin")
    assert "wrong" not in {item["name"] for item in cli.json("profiles", "list")}


# --- credentials and the network ------------------------------------------------------------------------------


def test_a_profile_without_its_secret(ready: Ready, server: Platforms) -> None:
    cli, folder = ready
    cli(
        *("profiles", "add", "demo-payments", "--name", "bare", "--replace"),
        *("--field", f"base_url={server.urls['payments']}", "--secret-from", "api_key=env:NOT_SET_ANYWHERE"),
    )
    path = write_integration(
        folder, "bare-copy", ("demo-payments", "bare"), ("sqlite", "warehouse"), ["charges"]
    )
    for command in (("profiles", "test", "bare"), ("discover", "bare"), ("syncs", "run", str(path))):
        one_sentence(cli(*command, code=5), 5, "bare", "api_key", "NOT_SET_ANYWHERE")
    assert cli.json("runs", "list", "--integration", "bare-copy") == []


def test_a_refused_credential(ready: Ready, server: Platforms) -> None:
    cli, folder = ready
    refused = cli.with_env(WRONG_KEY="wrong-canary-8812")
    refused(
        *("profiles", "add", "demo-payments", "--name", "refused", "--replace"),
        *("--field", f"base_url={server.urls['payments']}", "--secret-from", "api_key=env:WRONG_KEY"),
    )
    path = write_integration(
        folder,
        "refused-copy",
        ("demo-payments", "refused"),
        ("sqlite", "warehouse"),
        ["charges", "customers"],
    )
    tested = refused("profiles", "test", "refused", code=5)
    assert "x failed" in tested.out
    one_sentence(Done(tested.args, 5, "", tested.err), 5, "cannot be used", "401", "key")
    one_sentence(refused("discover", "refused", code=5), 5, "401", "key is not known")
    ran = refused("syncs", "run", path, code=5)
    one_sentence(narrated(ran), 5, "401", "key is not known")
    for done in (tested, ran):
        assert "wrong-canary-8812" not in done.out + done.err
    # With the right key it goes on as if nothing had been.
    right = cli.with_env(WRONG_KEY=cli.env["PAYMENTS_KEY"])
    assert counts(right.json("syncs", "run", "refused-copy", code=None))["charges"][0] == 50
    assert lost(right, "refused-copy") == 0


def test_a_host_that_cannot_be_reached(ready: Ready) -> None:
    cli, folder = ready
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        cli.options = ("--connectors", str(write_manifest(folder / "connectors")))
        away = cli.with_env(HELD_TOKEN=TOKEN)
        away(*("profiles", "add", "held", "--name", "away", "--field", f"base_url={address}"),
             *("--secret-from", "token=env:HELD_TOKEN", "--replace"))  # fmt: skip
        path = write_integration(folder, "away-copy", ("held", "away"), ("sqlite", "warehouse"), ["items"])
        done = away("profiles", "test", "away", code=1)
        one_sentence(Done(done.args, 1, "", done.err), 1, "refuses the connection", "address")
        one_sentence(
            narrated(away("syncs", "run", path, code=1)), 1, "items", "refuses the connection", "3 times"
        )
    assert [run["state"] for run in away.json("runs", "list", "--integration", "away-copy")] == ["failed"]
    peer = Peer(30)
    try:
        away("profiles", "add", "held", "--name", "away", "--field", f"base_url={peer.url}",
             "--secret-from", "token=env:HELD_TOKEN", "--replace")  # fmt: skip
        assert counts(away.json("syncs", "run", "away-copy")) == {"items": (30, 30, 0)}
    finally:
        peer.stop()
        cli.options = ()


def test_postgresql_refuses(cli: Cli, postgres_server: PostgresServer) -> None:
    cli = cli.with_env(PG_PASSWORD="wrong-canary-4410")
    fields = {
        "host": postgres_server.host,
        "port": str(postgres_server.port),
        "user": postgres_server.user,
        "tls": "disable",
    }
    for name, database, code, needle in (
        ("password", "postgres", 5, "password"),
        ("nowhere", "nowhere", 4, "nowhere"),
    ):
        env = cli if name == "password" else cli.with_env(PG_PASSWORD=postgres_server.password)
        given = [
            part
            for key, value in {**fields, "database": database}.items()
            for part in ("--field", f"{key}={value}")
        ]
        env(
            "profiles",
            "add",
            "postgresql",
            "--name",
            name,
            *given,
            "--secret-from",
            "password=env:PG_PASSWORD",
        )
        done = env("profiles", "test", name, code=code)
        assert needle in one_sentence(Done(done.args, code, "", done.err), code)
        assert "wrong-canary-4410" not in done.out + done.err
    cli("profiles", "add", "postgresql", "--name", "typo", "--field", "host=h", code=4)


# --- files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "needles"),
    [
        (b"manifest: 1\nplatform: [\n", (":3:1:", "not valid YAML")),
        (b"\xff\xfe\x00", ("not UTF-8",)),
        (b"", (":1:1:",)),
        (b"manifest: 1\nplatform: &a foo\nname: *a\n", (":2:",)),
        (b"manifest: 1\nplatform: foo\nplatform: foo\n", (":3:1:", "platform")),
    ],
)
def test_a_malformed_manifest(cli: Cli, tmp_path: Path, text: bytes, needles: tuple[str, ...]) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "foo.yaml").write_bytes(text)
    cli.options = ("--connectors", str(folder))
    done = cli("profiles", "add", "foo", code=4)
    assert done.out == "" and str(folder / "foo.yaml") in done.err
    for needle in needles:
        assert needle in done.err
    # The others are there all the same.
    listed = cli("connectors", "list").out
    assert "github" in listed and "connectors check foo" in listed
    checked = cli("connectors", "check", "foo", code=4)
    assert "1 manifest, 1 with problems." in checked.err and str(folder / "foo.yaml") in checked.out


def test_every_problem_of_a_manifest_has_its_place(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "half.yaml"
    path.write_text("manifest: 1\nplatform: half\nnme: Half\ndriver: htp\n")
    done = cli("connectors", "check", path, code=4)
    lines = done.out.splitlines()
    assert all(line.startswith(f"{path}:") for line in lines)
    assert any(":3:1: nme: unknown key; did you mean 'name'?" in line for line in lines)
    assert any(":4:9: driver:" in line and "http" in line for line in lines)
    assert any("auth: is missing" in line for line in lines)


def test_a_folder_of_manifests_that_is_not_there(cli: Cli, tmp_path: Path) -> None:
    cli.options = ("--connectors", str(tmp_path / "no"))
    one_sentence(cli("connectors", "list", code=4), 4, str(tmp_path / "no"), "--connectors")


@pytest.mark.parametrize(
    ("line", "needle"),
    [
        ("  - {name: stripe, profile: sk_live_4242424242424242canary, type: api, endpoints: [customers]}", "profile"),
        ("  - {name: stripe, profile: s, type: api, endpoints: [customers], api_key: sk_live_42424canary}", "api_key"),
    ],
)  # fmt: skip
def test_a_credential_in_an_integration_file(ready: Ready, line: str, needle: str) -> None:
    cli, folder = ready
    path = folder / "leaky.yaml"
    path.write_text(
        f"integration: leaky\nplatforms:\n{line}\n  - {{name: sqlite, profile: warehouse, type: sync}}\n"
    )
    done = cli("syncs", "run", path, code=4)
    assert "canary" not in one_sentence(done, 4, f"{path}:3:", needle, "profiles add stripe")
    assert b"canary" not in cli.database.read_bytes()


@pytest.mark.parametrize(
    ("text", "needles"),
    [
        ("integration: x\nplatforms: [", ("not valid YAML",)),
        ("integration: x\nplatfrms: []\n", (":2:1:", "did you mean 'platforms'?")),
        ("integration: ../x\nplatforms: []\n", (":1:14:",)),
        ("[]", (":1:1:",)),
    ],
)
def test_a_malformed_integration_file(ready: Ready, text: str, needles: tuple[str, ...]) -> None:
    cli, folder = ready
    path = folder / "broken.yaml"
    path.write_text(text)
    for command in ("run", "show", "account"):
        done = cli("syncs", command, path, code=4)
        assert done.out == "" and all(line.startswith(f"{path}:") for line in done.err.splitlines())
        for needle in needles:
            assert needle in done.err


def test_an_integration_that_names_what_is_not_there(ready: Ready) -> None:
    cli, folder = ready
    source, target = ("demo-payments", "payments"), ("sqlite", "warehouse")
    for name, ends, needles in (
        ("no-stream", (source, target, ["chrges"]), (":3:", "did you mean 'charges'?")),
        ("no-profile", (("demo-payments", "nobody"), target, ["charges"]), ("nobody", "payments")),
        ("other-platform", (("stripe", "payments"), target, ["charges"]), ("payments", "demo-payments")),
        ("no-platform", (("demo-paymnts", "payments"), target, ["charges"]), (":3:", "did you mean")),
    ):
        path = write_integration(folder, name, *ends)
        one_sentence(cli("syncs", "run", path, code=4), 4, *needles)
    path = write_integration(folder, "fine", source, target, ["charges"])
    one_sentence(cli("syncs", "run", path, "customers", code=4), 4, "no stream 'customers'", "charges")
    assert not {"no-stream", "no-platform"} & {item["name"] for item in cli.json("syncs", "list")}


# --- targets -------------------------------------------------------------------------------------------------


def test_a_table_of_another_shape_is_left_as_it_is(ready: Ready) -> None:
    cli, folder = ready
    path = folder / "mine.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        connection.execute("INSERT INTO customers VALUES (1, 'mine')")
        connection.commit()
    add_warehouse(cli, path, "mine")
    source = ("demo-payments", "payments")
    file = write_integration(folder, "shaped", source, ("sqlite", "mine"), ["customers", "charges"])
    done = cli("syncs", "run", file, code=4)
    one_sentence(narrated(done), 4, "customers", "another shape", "name another target")
    assert rows(path, "SELECT * FROM customers") == [{"id": 1, "name": "mine"}]
    document = cli.json("runs", "show", done.out.split()[1])
    states = {item["stream"]: item["state"] for item in document["streams"]}
    assert states["customers"] == "failed" and states["charges"] in (
        "succeeded",
        "partial",
    )  # each fails alone
    write_integration(
        *(folder, "shaped", source, ("sqlite", "mine"), ["customers", "charges"]),
        "streams:\n  customers: {target: payments_customers}\n",
    )
    cli.json("syncs", "run", file, code=None)
    assert lost(cli, "shaped") == 0


def test_targets_that_are_no_database(ready: Ready) -> None:
    cli, folder = ready
    (folder / "text.sqlite").write_text("this is no database, and it is to stay as it is")
    for name, path, needle in (
        ("text", folder / "text.sqlite", "not a usable SQLite database"),
        ("nofolder", folder / "no" / "such" / "x.sqlite", "does not exist"),
        ("afolder", folder, "folder"),
        ("itself", cli.database, "platint"),
    ):
        add_warehouse(cli, path, name)
        file = write_integration(
            folder, f"to-{name}", ("demo-payments", "payments"), ("sqlite", name), ["charges"]
        )
        if name != "text":
            tested = cli("profiles", "test", name, code=4)
            one_sentence(Done(tested.args, 4, "", tested.err), 4, str(path), needle)
            continue
        done = cli("syncs", "run", file, code=4)
        one_sentence(narrated(done), 4, str(path), needle)
    assert (folder / "text.sqlite").read_text().endswith("as it is")
