"""What an operator does to a running sync: ctrl+c, kill -9, cancel, a second command; nothing is lost."""

from __future__ import annotations

import json
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


def test_other_streams_or_a_changed_file_get_a_run_of_their_own(cli: Cli, peer: Peer, tmp_path: Path) -> None:
    """The run that was left ends as it began; what was asked for now is done after it."""
    start(cli, peer, tmp_path).kill()
    peer.release()
    path = write_integration(
        *(tmp_path, "held-copy", ("held", "held"), ("sqlite", "warehouse"), ["items"]),
        "streams:\n  items: {select: [id, updated], map: {text: upper(text)}}\n",
    )
    peer.items.append({"id": COUNT + 1, "text": "made meanwhile", "updated": 5000})
    done = cli("syncs", "run", path)
    assert "goes on from its position" in done.err
    assert [(run["number"], run["version"], run["state"]) for run in cli.runs()] == [
        (2, 2, "succeeded"),
        (1, 1, "succeeded"),
    ]
    all_there(cli, peer, tmp_path)


def test_cancel_a_run_of_the_background_engine(cli: Cli, peer: Peer, tmp_path: Path) -> None:
    peer.hold_at(4)
    done = cli("syncs", "run", tmp_path / "held-copy.yaml", "--detach")
    assert done.out == "" and "runs watch 1" in done.err
    engine = wait_for(cli.engine_pid, "the background engine")
    assert peer.holding.wait(30)
    watching = cli.start("runs", "watch", "1", "--json")

    # A second run of the same integration is refused while this one is at work.
    one_sentence(cli("syncs", "run", "held-copy", code=4), 4, "run 1", "running", "syncs cancel 1")
    one_sentence(cli("syncs", "reset", "held-copy", "items", "--yes", code=4), 4, "run 1", "cancel it")
    one_sentence(cli("syncs", "remove", "held-copy", "--yes", code=4), 4, "run 1", "cancel it")

    assert cli.json("syncs", "cancel", "1")["cancel_requested"]
    out, err = watching.communicate(timeout=30)
    assert watching.returncode == 1 and '"state": "cancelled"' in out, (out, err)
    one_sentence(cli("syncs", "cancel", "1", code=4), 4, "already ended", "cancelled")
    kept = set(written(tmp_path))
    assert len(kept) == 60
    peer.release()
    again = cli.json("syncs", "run", "held-copy")
    assert counts(again) == {"items": (COUNT - 60, COUNT - 60, 0)}
    all_there(cli, peer, tmp_path)
    # Nothing is left to do and nobody looks: the engine ends by itself.
    wait_for(lambda: not Path(f"/proc/{engine}").exists(), "the end of the idle engine", 30)
    assert cli.engine_pid() is None


def test_killing_the_command_that_waits_stops_no_run(cli: Cli, peer: Peer, tmp_path: Path) -> None:
    """The engine is a process of its own: who only watches may leave."""
    peer.hold_at(4)
    serve = cli.start("serve")
    wait_for(cli.engine_pid, "the engine")
    watching = cli.start("syncs", "run", tmp_path / "held-copy.yaml")
    assert peer.holding.wait(30)
    assert cli.engine_pid() == serve.pid  # the run is the engine's, the command has attached to it
    watching.kill()
    peer.release()
    document = cli.json("runs", "watch", "1")
    assert document["state"] == "succeeded" and document["number"] == 1
    one_sentence(_last_line(cli("serve", code=4)), 4, "engine runs already", str(serve.pid))
    serve.send_signal(signal.SIGTERM)
    _, err = serve.communicate(timeout=30)
    assert serve.returncode == 130 and "Traceback" not in err
    all_there(cli, peer, tmp_path)


def _last_line(done: Any) -> Any:
    """What `serve` says after that it starts."""
    head, _, rest = done.err.partition("\n")
    assert head.startswith("Starting the engine")
    return type(done)(done.args, done.code, done.out, rest)


def test_a_killed_background_engine_is_replaced(cli: Cli, peer: Peer, tmp_path: Path) -> None:
    """A13: whoever watches the run starts another engine, which goes on from the confirmed position."""
    peer.hold_at(4)
    cli("syncs", "run", tmp_path / "held-copy.yaml", "--detach")
    assert peer.holding.wait(30)
    wait_for(lambda: len(written(tmp_path)) == 60, "the rows of the first pages")
    engine = wait_for(cli.engine_pid, "the engine")
    os.kill(engine, signal.SIGKILL)
    peer.release()
    document = cli.json("runs", "watch", "1")
    assert document["state"] == "succeeded" and document["epoch"] > 1
    assert counts(document) == {"items": (COUNT, COUNT, 0)}
    all_there(cli, peer, tmp_path)


def test_the_engine_of_one_command_ends_before_the_work_of_another(
    cli: Cli, peer: Peer, tmp_path: Path
) -> None:
    """The second command has attached to the engine of the first, and goes on with one of its own."""
    other = Peer(COUNT)
    try:
        cli(
            *("profiles", "add", "held", "--name", "other", "--field", f"base_url={other.url}"),
            *("--secret-from", "token=env:HELD_TOKEN"),
        )
        add_warehouse(cli, tmp_path / "other.sqlite", "elsewhere")
        second = write_integration(
            tmp_path, "other-copy", ("held", "other"), ("sqlite", "elsewhere"), ["items"]
        )
        other.hold_at(4)
        first = start(cli, peer, tmp_path)
        attached = cli.start("syncs", "run", second, "--json")
        assert other.holding.wait(30)
        assert cli.engine_pid() == first.pid
        peer.release()
        first.communicate(timeout=30)
        assert first.returncode == 0
        other.release()
        out, err = attached.communicate(timeout=60)
        assert attached.returncode == 0, err
        assert json.loads(out)["state"] == "succeeded"
        assert counts(json.loads(out)) == {"items": (COUNT, COUNT, 0)}
        assert lost(cli, "other-copy") == 0
    finally:
        other.stop()
    all_there(cli, peer, tmp_path)


def test_a_killed_demo_goes_on(cli: Cli) -> None:
    arguments = ("demo", "--headless", "--keep", "--records", "3000")
    demo = cli.start(*arguments)
    warehouse = cli.home / "data" / "demo" / "warehouse.sqlite"
    query = "SELECT 1 FROM sqlite_master WHERE name = 'payments_charges'"
    wait_for(lambda: warehouse.exists() and rows(warehouse, query), "the first rows")
    demo.kill()
    demo.communicate(timeout=30)
    document = cli.json(*arguments, "--calm", code=3)
    assert document["records"]["lost"] == 0
    charges = next(item for item in document["account"] if item["stream"] == "charges")
    assert charges["source"] == 3060 == charges["in_target"] + charges["in_dead_letters"]
