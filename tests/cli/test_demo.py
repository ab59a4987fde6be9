"""`demo --headless`: the whole job on the embedded platforms, and the JSON document that scripts read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli.kit import Cli, counts, rows

KEYS = ["discovery", "runs", "records", "account", "dead_letters", "metrics", "paths"]
RECORDS = ["read", "written", "dead_lettered", "replayed", "lost"]
METRICS = {
    "api_latency_p50_ms",
    "api_latency_p95_ms",
    "api_latency_p99_ms",
    "error_rate",
    "sync_throughput",
    "webhook_success_rate",
}


def adds_up(document: dict[str, Any]) -> None:
    """Every record that was read is in one place, by the counters and by the comparison."""
    streams = [item for run in document["runs"] for item in run["streams"]]
    records = document["records"]
    for name in ("read", "written", "dead_lettered"):
        assert records[name] == sum(item[name] for item in streams)
    superseded = sum(item["superseded"] for item in streams)
    assert records["read"] == records["written"] + records["dead_lettered"] + superseded
    assert records["lost"] == 0
    for item in document["account"]:
        assert item["source"] == item["in_target"] + item["in_dead_letters"] and item["lost_keys"] == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def first(make_cli: Callable[..., Cli], folder: Path) -> Any:
    """`demo --headless --json` with misbehaving platforms, as a user has it."""
    cli = make_cli("demo", TMPDIR=str(folder))
    return cli("demo", "--headless", "--json", "--records", "600", "--seed", "7", code=3), cli


def test_json_is_one_document_with_the_agreed_keys(first: Any) -> None:
    done, _ = first
    document = json.loads(done.out)
    assert sorted(document) == sorted(KEYS)
    assert sorted(document["records"]) == sorted(RECORDS)
    assert set(document["metrics"]) == METRICS
    assert set(document["discovery"]) == {"demo-payments", "demo-crm", "demo-chat"}
    assert {item["stream"]: item["records"] for item in document["discovery"]["demo-payments"]} == {
        "customers": 150,
        "charges": 600,
    }
    adds_up(document)
    assert document["records"]["read"] == 150 + 600 + 150
    assert document["records"]["replayed"] == 1
    assert [run["integration"] for run in document["runs"]] == ["demo-to-sqlite", "demo-to-crm"]
    assert sum(item["open"] for item in document["dead_letters"]) == document["records"]["dead_lettered"]
    for issue in document["dead_letters"]:
        assert issue["code"] and issue["field"] and issue["message"] and len(issue["fingerprint"]) >= 16


def test_metrics_are_measured(first: Any) -> None:
    found = first[0].json["metrics"]
    assert 0 < found["api_latency_p50_ms"] <= found["api_latency_p95_ms"] <= found["api_latency_p99_ms"]
    assert 0 < found["error_rate"] < 1  # the platforms misbehave
    assert found["sync_throughput"] > 0
    assert found["webhook_success_rate"] is None  # nothing receives webhooks yet


def test_narration_goes_to_stderr(first: Any) -> None:
    done, _ = first
    for word in ("discovered demo-payments", "run 1 demo-to-sqlite", "edited; replaying", "1 of 1 succeeded"):
        assert word in done.err


def test_nothing_is_left_behind(first: Any, folder: Path) -> None:
    done, cli = first
    assert list(folder.iterdir()) == []
    assert not cli.home.exists() or not any(cli.home.rglob("*"))
    assert not any(Path(path).exists() for path in done.json["paths"].values())


def test_the_same_seed_gives_the_same_counts(first: Any, make_cli: Callable[..., Cli]) -> None:
    done, _ = first
    again = make_cli("again")("demo", "--json", "--calm", "--records", "600", "--seed", "7", code=3).json
    adds_up(again)
    assert again["records"] == done.json["records"]
    assert [counts(run) for run in again["runs"]] == [counts(run) for run in done.json["runs"]]
    causes = [
        sorted((item["fingerprint"], item["open"]) for item in document["dead_letters"])
        for document in (again, done.json)
    ]
    assert causes[0] == causes[1]


def test_kept_data_makes_the_second_run_incremental(cli: Cli) -> None:
    arguments = ("demo", "--headless", "--calm", "--records", "200", "--keep")
    before = cli.json(*arguments, code=None)
    adds_up(before)
    paths = {name: Path(path) for name, path in before["paths"].items()}
    assert all(path.exists() and path.is_relative_to(cli.home) for path in paths.values())
    table = {row["_key"]: row["_run"] for row in rows(paths["warehouse"], "SELECT * FROM payments_charges")}
    assert len(table) + _dead(before, "charges") == 200

    after = cli.json(*arguments, code=None)
    adds_up(after)
    assert after["paths"] == before["paths"]
    assert [counts(run)["customers"][0] for run in after["runs"]] == [5, 5]
    assert counts(after["runs"][0])["charges"][0] == 5
    assert [run["number"] for run in after["runs"]] == [3, 4]
    assert {item["stream"]: item["source"] for item in after["account"]} == {"customers": 55, "charges": 205}
    kept = {row["_key"]: row["_run"] for row in rows(paths["warehouse"], "SELECT * FROM payments_charges")}
    assert table.items() <= kept.items() and len(kept) > len(table)

    other = cli(*arguments, "--seed", "5", code=4)
    assert "seed 1" in other.err and "remove" in other.err


def _dead(document: dict[str, Any], stream: str) -> int:
    return sum(item["in_dead_letters"] for item in document["account"] if item["stream"] == stream)


def test_one_record(cli: Cli) -> None:
    done = cli("demo", "--json", "--calm", "--records", "1", "--seed", "3", code=None)
    adds_up(done.json)
    records = done.json["records"]
    assert records["read"] == 10 + 1 + 10
    assert done.code == (3 if records["dead_lettered"] else 0)
    in_crm = any(item["integration"] == "demo-to-crm" for item in done.json["dead_letters"])
    assert records["replayed"] == in_crm


def test_for_a_person(cli: Cli) -> None:
    done = cli("demo", "--headless", "--calm", "--records", "40", "--seed", "1", code=None)
    assert "Dead letters by cause" in done.out and "lost 0" in done.out and "p95" in done.out
    assert "\x1b" not in done.out + done.err


@pytest.mark.parametrize("records", ["0", "-5", "1000000000"])
def test_numbers_out_of_range_are_refused(cli: Cli, records: str) -> None:
    done = cli("demo", "--headless", f"--records={records}", code=4)
    assert done.err.count("\n") == 1 and "1 to 999,999,999" in done.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ended_from_outside_it_leaves_nothing(cli: Cli, tmp_path: Path, number: signal.Signals) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    demo = cli.with_env(TMPDIR=str(temporary)).start("demo", "--headless", "--records", "4000")
    assert demo.stderr is not None
    demo.stderr.readline()  # the first discovery: platforms and engine are at work
    demo.send_signal(number)
    _, err = demo.communicate(timeout=30)
    assert demo.returncode == 130 and "Traceback" not in err, err
    assert list(temporary.iterdir()) == []


def test_a_killed_demo_is_swept_up_by_the_next_one(tmp_path: Path) -> None:
    from platint_tui.services.demo import _LOCK, _PREFIX

    left = tmp_path / f"{_PREFIX}left"
    left.mkdir()
    (left / _LOCK).touch()
    other = tmp_path / f"{_PREFIX}other"
    other.mkdir()
    finished = subprocess.run(
        [sys.executable, "-m", "platint_tui", "demo", "--headless", "--json", "--records", "20", "--calm"],
        env={**os.environ, "TMPDIR": str(tmp_path), "PLATINT_HOME": str(tmp_path / "home")},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode in (0, 3), finished.stderr.decode()
    assert not left.exists() and other.is_dir(), "only what a demo has marked as its own is removed"
    assert [path.name for path in tmp_path.glob(f"{_PREFIX}*")] == [other.name]
