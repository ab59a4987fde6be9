"""Makes the pictures of the README: the console over a real demo run, exported by the program as SVG.

    python tests/pictures.py

Runs the demo in a folder of its own, opens the console on it and saves a section per file in `.pictures/`.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from pathlib import Path

from platint_tui.core.states import FINAL_RUN_STATES
from platint_tui.services import demo, discovery, profiles, runs, syncs
from platint_tui.services.engine import local_engine
from platint_tui.services.workspace import Workspace
from platint_tui.tui.app import Options, PlatintApp

FOLDER = Path(__file__).resolve().parents[1] / ".pictures"
SECTIONS = (("dashboard", "1"), ("syncs", "4"), ("deadletters", "5"), ("metrics", "8"))
SIZE = (120, 30)


async def prepare(workspace: Workspace) -> None:
    """The demo's job, as `platint-tui demo` does it."""
    async with local_engine(workspace):
        for profile in await profiles.list_profiles(workspace):
            await profiles.test(workspace, profile.profile.name)
        for profile_name in ("demo-payments", "demo-crm", "demo-chat"):
            await discovery.discover(workspace, profile_name)
        for name in demo.INTEGRATIONS:
            run = await syncs.run(workspace, name)
            async for state in runs.watch(workspace, run.id, start_engine=False):
                if state.state in FINAL_RUN_STATES:
                    break


def small(svg: str) -> str:
    """The picture without what a README does not need: fonts from elsewhere and needless digits."""
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.S)
    # Positions only: what the console shows stays as it is.
    return re.sub(r'="(-?\d+\.\d)\d+"', r'="\1"', svg)


async def shoot(workspace: Workspace) -> None:
    """One picture per section, and one of an opened dead letter."""

    async def opened() -> Workspace:
        return workspace

    app = PlatintApp(opened, options=Options(environ=workspace.environ, banner="demo"))
    async with app.run_test(size=SIZE) as pilot:
        await settled(app, pilot)
        for name, key in SECTIONS:
            await pilot.press(key)
            await settled(app, pilot)
            save(app, name)
            if name == "deadletters":
                for _ in range(2):
                    await pilot.press("enter")
                    await settled(app, pilot)
                save(app, "dead-letter")
                await pilot.press("escape", "escape")


async def settled(app: PlatintApp, pilot: object) -> None:
    """Wait until the section on the screen has its data, and a frame more."""
    for _ in range(400):
        await asyncio.sleep(0.01)
        if app.opened and app.view is not None and app.view.state == "ready":
            break
    await asyncio.sleep(1.0)


def save(app: PlatintApp, name: str) -> None:
    """Write one picture."""
    svg = small(app.export_screenshot(title="platint-tui", simplify=True))
    (FOLDER / f"{name}.svg").write_text(svg)
    print(f"{name}.svg {len(svg) // 1024} KiB")


async def main() -> None:
    """Run the demo and take the pictures."""
    FOLDER.mkdir(exist_ok=True)
    environ = {"PLATINT_HOME": tempfile.mkdtemp(prefix="platint-pictures-"), "TEXTUAL_ANIMATIONS": "none"}
    async with demo.running(demo.DemoOptions(), environ) as running:
        workspace = await demo.open_demo(running)
        await prepare(workspace)
        await shoot(workspace)


if __name__ == "__main__":
    asyncio.run(main())
