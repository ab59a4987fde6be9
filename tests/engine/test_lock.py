"""One engine per installation, whatever happens to the one that was there."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from engine.peer import Peer, integration
from engine.support import ROOT, Installation, until

from platint_tui.core.errors import ConfigError
from platint_tui.core.states import RunState
from platint_tui.engine import lock as lock_module
from platint_tui.engine.lock import EngineBusyError, EngineLock, holder

HOLD = """
import sys, time
from pathlib import Path
from platint_tui.engine.lock import EngineLock
lock = EngineLock(Path(sys.argv[1]), "eng_other")
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


def hold(path: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout
    assert process.stdout.readline() == b"held\n"
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert process.stdout
    process.stdout.close()


def test_O4_a_second_engine_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "engine.lock"
    assert holder(path) is None
    other = hold(path)
    try:
        with pytest.raises(EngineBusyError) as caught:
            EngineLock(path).acquire()
        assert str(other.pid) in caught.value.sentence()
        assert caught.value.holder is not None
        assert caught.value.holder.worker == "eng_other"
        assert not EngineLock(path).try_acquire()
        found = holder(path)
        assert found is not None
        assert found.pid == other.pid
    finally:
        end(other)
    # kill -9 releases it at once, without any clean-up.
    assert holder(path) is None
    mine = EngineLock(path, "eng_mine")
    mine.acquire()
    assert path.stat().st_mode & 0o777 == 0o600
    mine.release()
    mine.release()
    assert holder(path) is None
    assert path.read_bytes() == b""


def test_a_lock_taken_by_force_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "engine.lock"
    first = EngineLock(path)
    first.acquire()
    assert not first.lost()
    second = EngineLock(path, force=True)
    second.acquire()
    assert first.lost()
    assert not second.lost()
    first.release()
    assert holder(path) is not None
    second.release()


def foreign(path: Path, age: float) -> None:
    document = {"pid": 7, "host": "elsewhere", "boot": "another-boot", "started_ms": 0, "worker": "eng_far"}
    path.write_text(json.dumps(document))
    os.utime(path, (time.time() - age, time.time() - age))


def test_O5_a_holder_on_another_machine_is_respected_while_it_lives(tmp_path: Path) -> None:
    path = tmp_path / "engine.lock"
    foreign(path, age=5)
    with pytest.raises(EngineBusyError, match="another machine"):
        EngineLock(path).acquire()
    foreign(path, age=120)
    mine = EngineLock(path)
    mine.acquire()
    mine.release()


def test_O5_a_restarted_machine_or_container_is_not_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "engine.lock"
    foreign(path, age=0)
    monkeypatch.setattr(lock_module, "boot_id", lambda: "another-boot")
    mine = EngineLock(path)
    mine.acquire()
    mine.release()


def test_O3_a_planted_symlink_is_refused(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("keep")
    path = tmp_path / "engine.lock"
    path.symlink_to(victim)
    with pytest.raises(ConfigError):
        EngineLock(path).acquire()
    assert victim.read_text() == "keep"


async def test_two_engine_processes_exclude_each_other(installation: Installation) -> None:
    first = installation.spawn("--forever")
    await until(lambda: asyncio.sleep(0, holder(installation.paths.engine_lock)))
    code, said = await asyncio.to_thread(installation.finish)
    assert code == 4
    assert f"process {first.pid}" in said
    first.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(first.wait, 20) == 130
    assert holder(installation.paths.engine_lock) is None
    assert await installation.store.workers.list() == []


async def test_C3_a_suspended_engine_that_was_replaced_cannot_write(
    installation: Installation, peer: Peer
) -> None:
    peer.fill(2000)
    slow = True

    async def read(request: object) -> None:
        if slow:
            await asyncio.sleep(0.05)

    peer.read = read
    name = await installation.integrate(integration("fenced", {"items": "items"}, target="sqlite"))
    await installation.submit("run", integration=name, streams=[])
    first = installation.spawn("--forever")

    async def under_way() -> bool:
        runs = await installation.store.runs.list()
        return bool(runs) and runs[0].streams[0].read >= 300

    await until(under_way)
    first.send_signal(signal.SIGSTOP)
    slow = False
    second = await asyncio.to_thread(installation.finish, "--takeover")
    assert second[0] == 0, second[1]
    (run,) = await installation.store.runs.list()
    assert run.state == RunState.SUCCEEDED
    before = (run.streams[0].read, run.epoch, len(installation.table("items")))
    first.send_signal(signal.SIGCONT)
    # It sees that it was replaced and ends by itself.
    assert await asyncio.to_thread(first.wait, 30) != 0
    (run,) = await installation.store.runs.list()
    assert (run.streams[0].read, run.epoch, len(installation.table("items"))) == before
    assert before[0] == before[2] == 2000
