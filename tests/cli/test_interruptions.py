"""What an operator does to a running sync: ctrl+c, kill -9, cancel, a second command; nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.kit import Cli, add_warehouse, counts, lost, one_sentence, rows, wait_for, write_integration
from cli.peer import TOKEN, Peer, write_manifest

COUNT = 210


@pytest.fixture
def peer() -> Iterator[Peer]:
    server = Peer(COUNT)
    yield server
    server.stop()


@pytest.fixture
def cli(cli: Cli, peer: Peer, tmp_path: Path) -> Cli:
    """An installation with the held platform as the source of `held-copy`."""
    cli = cli.with_env(HELD_TOKEN=TOKEN)
    cli.options = ("--connectors", str(write_manifest(tmp_path / "connectors")))
    cli("profiles", "add", "held", "--field", f"base_url={peer.url}", "--secret-from", "token=env:HELD_TOKEN")
    add_warehouse(cli, tmp_path / "warehouse.sqlite")
    write_integration(tmp_path, "held-copy", ("held", "held"), ("sqlite", "warehouse"), ["items"])
    return cli


def written(folder: Path) -> dict[int, str]:
    """id -> run of the rows in the target."""
    path = folder / "warehouse.sqlite"
    if not path.exists() or not rows(path, "SELECT 1 FROM sqlite_master WHERE name = 'items'"):
        return {}
    return {row["id"]: row["_run"] for row in rows(path, "SELECT id, _run FROM items")}


def start(cli: Cli, peer: Peer, folder: Path, page: int = 4) -> subprocess.Popen[str]:
    """`syncs run` in the middle of its work: pages are written, the next one is awaited."""
    peer.hold_at(page)
    process = cli.start("syncs", "run", folder / "held-copy.yaml")
    assert peer.holding.wait(30)
    wait_for(lambda: len(written(folder)) == (page - 1) * 20, "the rows of the first pages")
    return process


def all_there(cli: Cli, peer: Peer, folder: Path) -> None:
    assert sorted(written(folder)) == [item["id"] for item in peer.items]
    assert lost(cli, "held-copy") == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_A20_ended_by_a_signal_the_position_is_saved(
    cli: Cli, peer: Peer, tmp_path: Path, number: signal.Signals
) -> None:
    process = start(cli, peer, tmp_path)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and out == "", (out, err)
    assert "Traceback" not in err and "saved" in err.splitlines()[-1]
    (run,) = cli.runs()
    assert run["state"] == "interrupted"
    peer.release()
    pages = peer.pages
    again = cli.json("syncs", "run", "held-copy")
    assert again["state"] == "succeeded"
    assert peer.pages - pages <= 11 - 3 + 1  # not from the beginning
    all_there(cli, peer, tmp_path)


def test_A3_killed_and_run_again_without_a_manual_step(cli: Cli, peer: Peer, tmp_path: Path) -> None:
    process = start(cli, peer, tmp_path)
    process.kill()
    process.communicate(timeout=30)
    assert [run["state"] for run in cli.runs()] == ["running"]
    peer.release()
    peer.items.append({"id": COUNT + 1, "text": "made meanwhile", "updated": 5000})
    again = cli.json("syncs", "run", "held-copy")
    assert again["state"] == "succeeded"
    all_there(cli, peer, tmp_path)
    assert counts(cli.json("syncs", "run", "held-copy")) == {"items": (0, 0, 0)}


def test_killed_twice(cli: Cli, peer: Peer, tmp_path: Path) -> None:
    start(cli, peer, tmp_path, 3).kill()
    peer.release()
    peer.hold_at(3)
    process = cli.start("syncs", "run", "held-copy")
    assert peer.holding.wait(30)
    wait_for(lambda: len(written(tmp_path)) > 40, "more rows")
    process.kill()
    peer.release()
    assert cli.json("syncs", "run", "held-copy")["state"] == "succeeded"
    all_there(cli, peer, tmp_path)
