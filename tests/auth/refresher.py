"""A process that reads one stream as the engine would, and says how it went: `refresher.py MANIFESTS`.

PLATINT_HOME is the installation, the profile is `p`. It waits for a line before it begins, so that several
begin together.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from platint_tui.core.clock import SystemClock
from platint_tui.core.errors import PlatintError
from platint_tui.core.paths import find_paths
from platint_tui.engine.serve import make_context
from platint_tui.manifest.registry import Registry
from platint_tui.store import open_store
from platint_tui.vault import Vault


async def main() -> str:
    """What the stream gave, or the error's sentence."""
    clock = SystemClock()
    paths = find_paths(os.environ)
    store = await open_store(paths.database, clock=clock, role="console")
    context = make_context(
        store, Registry((Path(sys.argv[1]),)), Vault(paths.config, os.environ), clock=clock
    )
    profile = await store.profiles.get("p")
    assert profile is not None
    driver = await context.open_driver(profile)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    try:
        found = [record.raw async for page in driver.read("items", None) for record in page.records]
        return f"read {len(found)}"
    except PlatintError as error:
        return f"{error.code}: {error.sentence()}"
    finally:
        await driver.close()
        await store.close()


print(asyncio.run(main()), flush=True)
