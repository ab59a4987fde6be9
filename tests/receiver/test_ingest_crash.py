"""kill -9 at every step of taking a webhook, a full disk, a burst: what was acknowledged is there, once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from engine.support import Installation, until
from receiver.sending import Sender, send_all
from receiver.support import SECRET, finish, serve

from platint_tui.core.clock import SystemClock
from platint_tui.core.model import Environment, Profile
from platint_tui.core.paths import find_paths
from platint_tui.manifest.registry import Registry, default_dirs
from platint_tui.services import inbound
from platint_tui.services.workspace import open_workspace
from platint_tui.store import open_store
from platint_tui.store.ports import EventFilter

SENDERS, EACH = 8, 12
TOTAL = SENDERS * EACH


@pytest.fixture
async def installation(home: Path) -> AsyncIterator[Installation]:
    made = await installed(home)
    yield made
    made.close()
    await made.store.close()


async def installed(home: Path) -> Installation:
    """An installation with one profile that receives webhooks, on a free port."""
    environ = {
        **os.environ,
        "PLATINT_HOME": str(home),
        "PLATINT_LISTEN": "127.0.0.1:0",
        "HOOK_SECRET": SECRET,
    }
    paths = find_paths(environ)
    store = await open_store(paths.database, clock=SystemClock(), role="console")
    await store.profiles.put(
        Profile("gh", "github", Environment.SANDBOX, {}, {"webhook_secret": "env:HOOK_SECRET"})
    )
    return Installation(home, store, Registry(default_dirs(None, paths.connectors, environ)), environ)


async def started(installation: Installation, **environ: str) -> tuple[subprocess.Popen[bytes], int]:
    """An engine process that receives, and its port."""
    await installation.store.settings.put("receiver.status", None)
    process = installation.spawn("--forever", **environ)

    async def port() -> int | None:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        status = await installation.store.settings.get("receiver.status")
        return int(status["address"].rpartition(":")[2]) if status and status["address"] else None

    return process, await until(port)


async def seen(installation: Installation) -> dict[str, int]:
    """Every event that is stored, with how often it came."""
    events = installation.store.events
    rows = await events.rows(await events.numbers(EventFilter()))
    found = {row.event_id: row.seen for row in rows}
    assert len(found) == len(rows)
    return found


async def killed(installation: Installation, point: str, planted: str = "") -> set[str]:
    """Let an engine die at a failpoint while webhooks come; returns what it had acknowledged."""
    process, port = await started(installation, PLATINT_FAILPOINT=point, TEST_PLANTED=planted)
    senders = await asyncio.to_thread(send_all, port, range(TOTAL), SENDERS)
    assert process.wait(30) == -signal.SIGKILL
    return set().union(*(sender.acknowledged for sender in senders))


@pytest.mark.parametrize(
    "point",
    [
        "ingest.before_commit:1",
        "ingest.before_commit:7",
        "ingest.after_commit:7",
        "ingest.before_answer:7",
    ],
)
async def test_A6_A7_I2_what_was_acknowledged_is_stored_whenever_the_engine_dies(
    installation: Installation, point: str
) -> None:
    acknowledged = await killed(installation, point)
    assert len(acknowledged) < TOTAL
    before = await seen(installation)
    assert acknowledged <= set(before)
    if point.startswith("ingest.after_commit"):
        # Committed and not answered: their senders do not know, and send them again.
        assert set(before) - acknowledged
    again = await serve(installation.home)
    await again.listens()
    await again.profile("gh")
    await asyncio.to_thread(send_all, again.port, range(TOTAL), SENDERS)
    await finish(again)
    after = await seen(installation)
    assert after == {f"d{n}": 1 + (f"d{n}" in before) for n in range(TOTAL)}
    (source,) = await installation.store.events.sources()
    assert source.events == TOTAL


async def test_A8_acknowledging_first_is_caught(installation: Installation) -> None:
    acknowledged = await killed(installation, "ingest.before_commit:1", planted="ack_first")
    assert acknowledged - set(await seen(installation))


async def test_J12_a_burst_with_duplicates_loses_nothing_and_doubles_nothing(
    installation: Installation,
) -> None:
    process, port = await started(installation)
    count, again = 2_000, 500
    senders = await asyncio.to_thread(send_all, port, [n % count for n in range(count + again)], 64)
    assert {status for sender in senders for status in sender.statuses} == {200}
    assert await seen(installation) == {f"d{n}": 1 + (n < again) for n in range(count)}
    workspace = await open_workspace(environ=installation.environ)
    try:
        found = await inbound.receiver(workspace)
        assert (found.state, found.address) == ("listening", f"http://127.0.0.1:{port}")
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        # What an engine that was killed has said is not believed.
        assert (await inbound.receiver(workspace)).state == "idle"
    finally:
        await workspace.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB; only root can have one."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", str(place)])
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(file: Path) -> None:
    """Take what is left of the disk, to the last block."""
    with file.open("wb", buffering=0) as handle:
        for size in (65536, 512):
            with pytest.raises(OSError, match="No space"):
                while True:
                    handle.write(b"x" * size)


async def test_B2_a_full_disk_leaves_webhooks_with_their_senders(small_disk: Path) -> None:
    installation = await installed(small_disk)
    filler = small_disk / "filler"
    try:
        _, port = await started(installation)
        first = await asyncio.to_thread(send_all, port, range(20), 4)
        assert sum(len(sender.acknowledged) for sender in first) == 20
        fill(filler)
        full = await asyncio.to_thread(send_all, port, range(20, 400), 4)
        assert {status for sender in full for status in sender.statuses} <= {200, 503}
        assert any(503 in sender.statuses for sender in full)
        acknowledged = set().union(*(sender.acknowledged for sender in (*first, *full)))
        filler.unlink()
        again = await asyncio.to_thread(send_all, port, range(400), 4)
        assert sum(len(sender.acknowledged) for sender in again) == 400
        stored = await seen(installation)
        assert set(stored) == {f"d{n}" for n in range(400)}
        # Every acknowledgement was true: it came once more now.
        assert all(stored[name] == 2 for name in acknowledged)
    finally:
        filler.unlink(missing_ok=True)
        installation.close()
        await installation.store.close()


async def test_J17_a_port_that_is_taken_is_said_and_tried_again(installation: Installation) -> None:
    taken = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    process = installation.spawn("--forever", PLATINT_LISTEN=f"127.0.0.1:{port}", TEST_RETRY="0.1")

    async def error() -> str:
        status = await installation.store.settings.get("receiver.status")
        return status["error"] if status else ""

    said = await until(error)
    assert said.startswith(f"127.0.0.1:{port} cannot be listened on (Address already in use).")
    # The engine goes on with everything else, and listens as soon as it can.
    assert (await installation.call("test_profile", profile="gh")).state in ("done", "failed")
    taken.close()
    await taken.wait_closed()

    async def listens() -> bool:
        status = await installation.store.settings.get("receiver.status")
        return bool(status["address"])

    await until(listens)
    sender = Sender(port, [1])
    await asyncio.to_thread(sender.run)
    assert sender.acknowledged == {"d1"}
    process.terminate()
    assert process.wait(30) == 130
    status = await installation.store.settings.get("receiver.status")
    assert (status["address"], status["error"]) == ("", "")
