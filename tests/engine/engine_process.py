"""An engine process: `python engine_process.py [--takeover] [--forever]`, its home by PLATINT_HOME."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from platint_tui.core.errors import PlatintError
from platint_tui.core.events import NewEvent
from platint_tui.core.ids import new_id
from platint_tui.core.model import Batch, Confirmed, DeadLetter, Op, Page, Row, WriteResult
from platint_tui.core.paths import find_paths
from platint_tui.core.ports import Target
from platint_tui.core.replays import Settlement
from platint_tui.engine import delivering, replay
from platint_tui.engine.delivering import RouteTask
from platint_tui.engine.deliveryoutcomes import done
from platint_tui.engine.failpoints import failpoint
from platint_tui.engine.plan import StreamPlan
from platint_tui.engine.receiver import server
from platint_tui.engine.receiver.batches import Batches, Done
from platint_tui.engine.replayroutes import Route
from platint_tui.engine.rows import Prepared, prepare
from platint_tui.engine.serve import serve
from platint_tui.engine.streams import StreamRun
from platint_tui.manifest.registry import Registry, default_dirs
from platint_tui.vault import Vault


def plant(design: str) -> None:
    """Wrong designs, to prove that the crash tests would see them."""
    if design == "position_first":
        write, commit = StreamRun._write, StreamRun._commit

        async def written_later(
            self: StreamRun, target: Target, pages: list[Page], at: Confirmed
        ) -> tuple[Prepared, WriteResult]:
            prepared = prepare(self.plan, pages, 0, keys=True)
            return prepared, WriteResult(len(prepared.rows), 0, ())

        async def position_first(self: StreamRun, target: Target, pages: list[Page]) -> None:
            await commit(self, target, pages)
            failpoint("before_write")
            await write(self, target, pages, Confirmed(0, {}))

        StreamRun._write = written_later  # type: ignore[method-assign]
        StreamRun._commit = position_first  # type: ignore[method-assign]
    if design == "ack_first":
        add = Batches.add

        def answered_first(self: Batches, events: Sequence[NewEvent], done: Done) -> None:
            done(True)
            add(self, events, lambda stored: None)

        Batches.add = answered_first  # type: ignore[method-assign]
    if design == "fresh_key":
        make = replay.make_row

        def fresh(
            plan: StreamPlan, raw: str, value: dict[str, Any], key: str = "", op: Op = Op.UPSERT
        ) -> Row:
            return make(plan, raw, value, new_id("key"), op)

        replay.make_row = fresh  # type: ignore[attr-defined]
        delivering.make_row = fresh  # type: ignore[attr-defined]
    if design == "settled_first":

        async def settled_first(
            self: replay.ReplayTask, route: Route, items: Sequence[tuple[DeadLetter, Row]]
        ) -> None:
            self._settler.put(*(Settlement(letter.id, "succeeded") for letter, _ in items))
            await self._settler.flush()
            await self._write(route, items)

        replay.ReplayTask._send = settled_first  # type: ignore[method-assign]
    if design == "settle_first":

        async def settled_first(self: RouteTask, way: Any, items: Any) -> None:
            await self._store.settle([done(one.delivery) for one, _ in items])
            failpoint("deliver.after_send")
            await way.target.write(Batch([row for _, row in items], None))

        RouteTask._write = settled_first  # type: ignore[method-assign]


def main() -> int:
    if limit := os.environ.get("TEST_FILE_SIZE"):
        # As a full disk: no file may grow beyond this.
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    if retry := os.environ.get("TEST_RETRY"):
        server.RETRY_SECONDS = float(retry)
    plant(os.environ.get("TEST_PLANTED", ""))
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    paths = find_paths(os.environ)
    extra = os.environ.get("TEST_CONNECTORS")
    registry = Registry(default_dirs(Path(extra) if extra else None, paths.connectors, os.environ))
    try:
        return asyncio.run(
            serve(
                paths,
                registry,
                Vault(paths.config, os.environ),
                until_idle="--forever" not in sys.argv,
                linger=0.2,
                takeover="--takeover" in sys.argv,
            )
        )
    except PlatintError as error:
        print(error.sentence(), file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
