"""The same job on platforms that nobody here wrote, by the command line only: manifests, no Python."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from pathlib import Path
from typing import Any

import asyncpg
from cli.kit import (
    SECRETS,
    Cli,
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
from peers.emulate import TOKEN, GithubEmulator, StripeEmulate
from peers.localstripe import StripeEmulator
from peers.postgres import PostgresServer
from peers.process import request

MANIFESTS = Path(__file__).parents[1] / "manifest" / "connectors"
NOTHING = (0, 0, 0)


def table(folder: Path, name: str) -> dict[str, dict[str, Any]]:
    """Rows of the warehouse by key."""
    return {row["_key"]: row for row in rows(folder / "warehouse.sqlite", f'SELECT * FROM "{name}"')}


def raws(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The records as the platform sent them, by id."""
    records = [json.loads(row["_raw"]) for row in found.values()]
    return {str(record["id"]): record for record in records}


# --- GitHub ----------------------------------------------------------------------------------------------------


def github_issues(github: GithubEmulator) -> dict[str, Any]:
    """Every issue of every repository, read page by page without the program."""
    found: dict[str, Any] = {}
    for repository in github_repositories(github).values():
        for page in range(1, 100):
            path = f"/repos/{repository['full_name']}/issues?state=all&per_page=100&page={page}"
            status, _, issues = github.call("GET", path)
            assert status == 200
            found |= {str(issue["id"]): issue for issue in issues}
            if len(issues) < 100:
                break
    return found


def github_repositories(github: GithubEmulator) -> dict[str, Any]:
    status, _, found = github.call("GET", "/user/repos?per_page=100")
    assert status == 200
    return {str(item["id"]): item for item in found}


def test_github_repositories_and_issues(cli: Cli, github_emulator: GithubEmulator, tmp_path: Path) -> None:
    github = github_emulator
    cli = cli.with_env(GITHUB_TOKEN=TOKEN)
    cli(
        *("profiles", "add", "github", "--field", f"base_url={github.url}"),
        *("--secret-from", "token=env:GITHUB_TOKEN"),
    )
    add_warehouse(cli, tmp_path / "warehouse.sqlite")
    assert cli.json("profiles", "test", "github")["ok"]
    catalogue = cli.json("discover", "github")
    assert {"repositories", "issues"} <= {item["name"] for item in catalogue["streams"]}
    streams = ["repositories", "issues"]
    path = write_integration(tmp_path, "github-copy", ("github", "github"), ("sqlite", "warehouse"), streams)

    issues, repositories = github_issues(github), github_repositories(github)
    assert len(issues) > 300  # alpha alone has four pages
    first = cli.json("syncs", "run", path)
    assert counts(first) == {
        "repositories": (len(repositories), len(repositories), 0),
        "issues": (len(issues), len(issues), 0),
    }
    assert raws(table(tmp_path, "issues")) == issues
    assert raws(table(tmp_path, "repositories")) == repositories
    assert lost(cli, "github-copy") == 0

    created = github.create_issue("alpha", "One more, between two runs")
    changed = github.update_issue("beta", 7, title="Changed between two runs", state="closed")
    second = cli.json("syncs", "run", "github-copy", "issues")
    assert counts(second) == {"issues": (2, 2, 0)}
    now = raws(table(tmp_path, "issues"))
    assert now == github_issues(github)
    assert now[str(created["id"])]["title"] == "One more, between two runs"
    assert now[str(changed["id"])]["state"] == "closed"
    # The rows that did not change were not touched.
    by_run = [row["_run"] for row in table(tmp_path, "issues").values()]
    assert by_run.count(second["id"]) == 2 and by_run.count(first["id"]) == len(issues) - 1

    assert counts(cli.json("syncs", "run", "github-copy", "issues")) == {"issues": NOTHING}
    assert lost(cli, "github-copy") == 0


# --- Stripe ----------------------------------------------------------------------------------------------------


def stripe_list(url: str, key: str, stream: str) -> dict[str, Any]:
    """Every object of a list, read page by page without the program."""
    found: dict[str, Any] = {}
    after = ""
    while True:
        status, _, page = request("GET", f"{url}/v1/{stream}?limit=100{after}", token=key)
        assert status == 200
        found |= {item["id"]: item for item in page["data"]}
        if not page["has_more"]:
            return found
        after = f"&starting_after={page['data'][-1]['id']}"


def add_stripe(cli: Cli, platform: str, url: str, *key: str, input: str = "") -> Path:
    """The profile with its key, and an integration of customers and charges."""
    folder = cli.home.parent
    cli("profiles", "add", platform, "--field", f"base_url={url}", *key, input=input)
    add_warehouse(cli, folder / "warehouse.sqlite")
    return write_integration(
        folder, f"{platform}-copy", (platform, platform), ("sqlite", "warehouse"), ["customers", "charges"]
    )


def with_vault(cli: Cli) -> Cli:
    """An installation with the encrypted file, unlocked as an unattended run unlocks it."""
    passphrase = cli.home.parent / "passphrase"
    passphrase.write_text("a passphrase of the tests\n")
    passphrase.chmod(0o600)
    cli("vault", "init", input="a passphrase of the tests\n")
    return cli.with_env(PLATINT_VAULT_PASSPHRASE_FILE=str(passphrase))


def test_stripe_newest_first(cli: Cli, stripe_emulate: StripeEmulate, tmp_path: Path) -> None:
    """The bundled manifest on an emulator with the order and the filter of the vendor."""
    stripe = stripe_emulate
    key = "sk_test_cli_0123456789"
    cli = with_vault(cli)
    path = add_stripe(cli, "stripe", stripe.url, "--place", "vault", input=f"{key}\n")
    assert cli.json("profiles", "test", "stripe", code=None)["capabilities"]
    before = {name: stripe_list(stripe.url, stripe.token, name) for name in ("customers", "charges")}
    assert all(len(found) > 200 for found in before.values())
    first = cli.json("syncs", "run", path)
    for name, found in before.items():
        assert counts(first)[name] == (len(found), len(found), 0)
        assert raws(table(tmp_path, name)) == found
    assert all(item["pages"] >= 3 for item in first["streams"])

    assert counts(cli.json("syncs", "run", "stripe-copy")) == {"customers": NOTHING, "charges": NOTHING}

    customer = stripe.create_customer(9001)
    stripe.create_charge(customer["id"], 777)
    third = cli.json("syncs", "run", "stripe-copy")
    assert counts(third) == {"customers": (1, 1, 0), "charges": (1, 1, 0)}
    assert raws(table(tmp_path, "customers")) == stripe_list(stripe.url, stripe.token, "customers")
    assert lost(cli, "stripe-copy") == 0


def test_localstripe_by_a_manifest_of_the_user(
    cli: Cli, stripe_emulator: StripeEmulator, tmp_path: Path
) -> None:
    """A platform that has only a manifest, given by `--connectors`: oldest first, no filter by time."""
    stripe = stripe_emulator
    cli = cli.with_env(LOCALSTRIPE_KEY=stripe.key)
    cli.options = ("--connectors", str(MANIFESTS))
    path = add_stripe(cli, "localstripe", stripe.url, "--secret-from", "api_key=env:LOCALSTRIPE_KEY")
    assert cli.json("profiles", "test", "localstripe")["ok"]
    before = {name: stripe_list(stripe.url, stripe.key, name) for name in ("customers", "charges")}
    first = cli.json("syncs", "run", path)
    for name, found in before.items():
        assert counts(first)[name] == (len(found), len(found), 0)
        assert set(raws(table(tmp_path, name))) == set(found)
    assert counts(cli.json("syncs", "run", "localstripe-copy")) == {"customers": NOTHING, "charges": NOTHING}
    created = stripe.create_customer(9002)
    charged = stripe.create_charge(12_345)
    again = cli.json("syncs", "run", "localstripe-copy")
    assert counts(again) == {"customers": (1, 1, 0), "charges": (1, 1, 0)}
    assert created["id"] in raws(table(tmp_path, "customers"))
    assert charged["id"] in raws(table(tmp_path, "charges"))
    assert lost(cli, "localstripe-copy") == 0
    # Without the folder nobody knows the platform.
    cli.options = ()
    one_sentence(cli("connectors", "show", "localstripe", code=4), 4, "localstripe")


# --- PostgreSQL ------------------------------------------------------------------------------------------------


def postgres_rows(server: PostgresServer, query: str) -> list[dict[str, Any]]:
    async def fetch() -> list[dict[str, Any]]:
        connection = await asyncpg.connect(server.dsn)
        try:
            return [dict(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    return asyncio.run(fetch())


def add_postgres(cli: Cli, server: PostgresServer, schema: str) -> None:
    postgres_rows(server, f"CREATE SCHEMA IF NOT EXISTS {schema}")
    cli(
        *("profiles", "add", "postgresql", "--name", "pg", "--replace"),
        *("--field", f"host={server.host}", "--field", f"port={server.port}", "--field", "tls=disable"),
        *("--field", f"database={server.database}", "--field", f"user={server.user}"),
        *("--field", f"schema={schema}", "--secret-from", "password=env:PG_PASSWORD"),
    )


def source_records(server: Platforms, stream: str) -> dict[str, Any]:
    """Every record of the payments platform by id, read without the program."""
    found: dict[str, Any] = {}
    after = ""
    while True:
        asked = urllib.request.Request(f"{server.urls['payments']}/v1/{stream}?limit=100{after}")
        asked.add_header("X-Api-Key", SECRETS["PAYMENTS_KEY"])
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(asked, timeout=20) as answer:
            page = json.loads(answer.read())
        found |= {item["id"]: item for item in page["data"]}
        if not page["has_more"]:
            return found
        after = f"&starting_after={page['data'][-1]['id']}"


def test_a_table_of_postgresql_is_upserted_by_key(
    cli: Cli, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """Run, let the source grow and change, run again; then compare every row with the source by key."""
    cli = cli.with_env(PG_PASSWORD=postgres_server.password)
    add_postgres(cli, postgres_server, "cli_copy")
    assert cli.json("profiles", "test", "pg")["ok"]
    path = write_integration(
        tmp_path,
        "to-pg",
        ("demo-payments", "payments"),
        ("postgresql", "pg"),
        ["charges"],
        "streams:\n  charges: {target: payments_charges}\n",
    )
    with platforms(tmp_path / "one", records=300) as server:
        add_payments(cli, server)
        first = cli.json("syncs", "run", path, code=None)
        compare_postgres(cli, postgres_server, source_records(server, "charges"))
        assert counts(cli.json("syncs", "run", "to-pg")) == {"charges": NOTHING}
        port = server.ports["payments"]
    before = postgres_rows(postgres_server, "SELECT _key, _run FROM cli_copy.payments_charges")
    # The same platform, some time later.
    with platforms(tmp_path / "two", records=300, generation=3, ports={"payments": port}) as server:
        now = source_records(server, "charges")
        assert len(now) == 318
        second = cli.json("syncs", "run", "to-pg", code=None)
        assert counts(second)["charges"][0] == 18
        compare_postgres(cli, postgres_server, now)
        after = postgres_rows(postgres_server, "SELECT _key, _run FROM cli_copy.payments_charges")
        assert {row["_key"]: row["_run"] for row in before}.items() <= {
            row["_key"]: row["_run"] for row in after
        }.items()
        # From the beginning again: every row is replaced by its key, none is added.
        cli("syncs", "reset", "to-pg", "charges", "--yes")
        third = cli.json("syncs", "run", "to-pg", code=None)
        assert counts(third)["charges"][0] == 318
        compare_postgres(cli, postgres_server, now)
        assert lost(cli, "to-pg") == 0
    assert [run["number"] for run in (first, second, third)] == [1, 3, 4]


def compare_postgres(cli: Cli, server: PostgresServer, source: dict[str, Any]) -> None:
    """Each record of the source is a row with the same content, or an open dead letter; nothing else is there."""
    found = postgres_rows(server, "SELECT id, amount, currency, _raw FROM cli_copy.payments_charges")
    letters = cli.json("dead", "list", "--limit", "1000")
    kept = {json.loads(letter["record_key"])[0] for letter in letters}
    assert len(found) == len({row["id"] for row in found})
    assert {row["id"] for row in found} == source.keys() - kept and kept <= source.keys()
    for row in found:
        record = source[row["id"]]
        assert json.loads(row["_raw"]) == record
        assert (row["amount"], row["currency"]) == (record["amount"], record["currency"])


def test_the_source_of_postgresql_changes_a_record(
    cli: Cli, postgres_server: PostgresServer, github_emulator: GithubEmulator, tmp_path: Path
) -> None:
    """A record that changed replaces its row; a new one is added."""
    github = github_emulator
    cli = cli.with_env(PG_PASSWORD=postgres_server.password, GITHUB_TOKEN=TOKEN)
    add_postgres(cli, postgres_server, "cli_issues")
    cli(
        *("profiles", "add", "github", "--field", f"base_url={github.url}"),
        *("--secret-from", "token=env:GITHUB_TOKEN"),
    )
    path = write_integration(tmp_path, "issues-pg", ("github", "github"), ("postgresql", "pg"), ["issues"])
    cli.json("syncs", "run", path)
    github.update_issue("gamma", 2, title="Another title")
    github.create_issue("empty", "The first one here")
    assert counts(cli.json("syncs", "run", "issues-pg")) == {"issues": (2, 2, 0)}
    found = postgres_rows(postgres_server, "SELECT id, title FROM cli_issues.issues")
    assert {str(row["id"]): row["title"] for row in found} == {
        key: issue["title"] for key, issue in github_issues(github).items()
    }
    assert len(found) == len({row["id"] for row in found})
    assert lost(cli, "issues-pg") == 0
