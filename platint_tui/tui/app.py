"""The app: opens the installation after the first paint, frames the sections, turns keys into actions."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.filter import Monochrome, NoColor
from textual.screen import Screen
from textual.widgets import ContentSwitcher, Static

from platint_tui.core.clock import Clock, SystemClock
from platint_tui.core.errors import ConfigError, PlatintError
from platint_tui.tui import glyphs, themes
from platint_tui.tui.actions import GRAMMAR, Action, Registry
from platint_tui.tui.bridge import Bridge, Held, Loaded, LoadFailed, StatusRead
from platint_tui.tui.chrome import Clicked, KeyBar, Rail, Trail
from platint_tui.tui.crash import CrashSafe
from platint_tui.tui.frame import Frame
from platint_tui.tui.movement import Movement
from platint_tui.tui.operations import Operations
from platint_tui.tui.reports import ActionLog
from platint_tui.tui.sections import SECTIONS, SectionView

if TYPE_CHECKING:
    from platint_tui.services.console import Status
    from platint_tui.services.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Options:
    """How the console was started.

    `banner` is shown in the frame (the demo names itself); `demo_code`, where the command line offers it,
    is the exit code that asks for the demo.
    """

    read_only: bool = False
    banner: str = ""
    section: str = "dashboard"
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    demo_code: int | None = None


class BaseScreen(Screen[None]):
    """It leaves to the sections what has the focus."""

    AUTO_FOCUS = ""


class PlatintApp(Frame, Movement, Operations, CrashSafe, inherit_bindings=False):
    """The console. `open` opens the workspace once the first frame is on the screen."""

    TITLE = "platint"
    CSS_PATH = Path(__file__).with_name("app.tcss")
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, f"verb({key!r})", verb, show=False, priority=key == "ctrl+q")
        for key, verb in GRAMMAR.items()
    ]

    def __init__(
        self,
        open: Callable[[], Awaitable[Workspace]],
        *,
        clock: Clock | None = None,
        options: Options | None = None,
    ) -> None:
        super().__init__()
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-medium"), (140, "-wide")]
        self.VERTICAL_BREAKPOINTS = [(0, "-short"), (20, "-medium-height"), (30, "-tall")]
        self.options = options or Options()
        self.failure: PlatintError | None = None
        self.registry = Registry()
        self.log_book = ActionLog()
        self.status: Status | None = None
        self._open = open
        self._clock = clock or SystemClock()
        self._workspace: Workspace | None = None
        self._bridge: Bridge | None = None
        self._section = self.options.section
        if self.no_color:
            # The library would still write shades of grey.
            self._filters = [NoColor() if isinstance(item, Monochrome) else item for item in self._filters]
        glyphs.use(glyphs.choose(self.options.environ))
        for theme in themes.THEMES:
            self.register_theme(theme)
        self.theme = themes.DEFAULT

    # --- frame ------------------------------------------------------------------------------------------

    def get_default_screen(self) -> Screen[None]:
        """The screen under all dialogs."""
        return BaseScreen(id="_default")

    def compose(self) -> ComposeResult:
        """The frame; sections are made when they are shown first."""
        yield Rail(id="rail")
        yield Trail(id="trail")
        yield ContentSwitcher(id="sections")
        yield Static(id="status", markup=False)
        yield KeyBar(id="keys")
        yield Static(id="too-small", markup=False)

    async def on_mount(self) -> None:
        """Show the first section, then open the installation behind it."""
        self.handle_signals()
        await self.show_section(self._section)
        self.call_after_refresh(lambda: self.run_worker(self._start(), group="start"))

    async def _start(self) -> None:
        try:
            self._workspace = workspace = await self._open()
        except PlatintError as error:
            self.failure = error
            self.exit(error.exit_code, return_code=error.exit_code)
            return
        from platint_tui.services import settings

        chosen = await settings.theme(workspace)
        if chosen in themes.LABELS:
            self.theme = chosen
        self._bridge = Bridge(
            workspace, current=lambda: self.view, post=self.post_message, describe=self.describe
        )
        self.run_worker(self._bridge.run(), group="bridge")
        self.run_worker(self._bridge.beat(), group="beat")
        self.load_all_actions()
        self.refresh_keys()

    @property
    def view(self) -> SectionView | None:
        """The section on the screen."""
        try:
            return self.query_one(f"#section-{self._section}", SectionView)
        except NoMatches:
            return None

    async def show_section(self, section: str) -> SectionView:
        """Bring a section to the front, making it when it was not shown yet."""
        switcher = self.screen_stack[0].query_one("#sections", ContentSwitcher)
        found = switcher.query(f"#section-{section}")
        if not found:
            made = SECTIONS[section].load()(id=f"section-{section}")
            self.registry.add(made.ACTIONS)
            await switcher.add_content(made)
        if section != self._section:
            self.notice("")
            self.trouble(view="")
        self._section = section
        switcher.current = f"section-{section}"
        view = switcher.query_one(f"#section-{section}", SectionView)
        if self._bridge is not None:
            self._bridge.refresh()
        view.focus_first()
        self.refresh_keys()
        return view

    @property
    def workspace(self) -> Workspace:
        """The opened installation. Raises ConfigError while it is not open."""
        if self._workspace is None:
            raise ConfigError("The store is not open yet.")
        return self._workspace

    @property
    def opened(self) -> bool:
        """Whether the installation is open."""
        return self._workspace is not None

    @property
    def clock(self) -> Clock:
        """The clock of the console."""
        return self._clock

    @property
    def read_only(self) -> bool:
        """Whether this console may only look."""
        return self.options.read_only

    @property
    def bridge(self) -> Bridge | None:
        """What reads for the screen, None before the installation is open."""
        return self._bridge

    @property
    def section(self) -> str:
        """The id of the section on the screen."""
        return self._section

    # --- what the bridge says ---------------------------------------------------------------------------

    @on(Loaded)
    def _loaded(self, message: Loaded) -> None:
        if message.view is not self.view:
            return
        message.view.state = "ready"
        self.held = 0
        message.view.show(message.snapshot)
        focused = self.screen_stack[0].focused
        if focused is None or not all(around.display for around in focused.ancestors_with_self):
            message.view.focus_first()
        self.trouble(view="")

    @on(Held)
    def _hold(self, message: Held) -> None:
        self.held = message.new
        self.trouble(view="")

    @on(LoadFailed)
    def _failed(self, message: LoadFailed) -> None:
        if message.view is None:
            self.trouble(status=message.sentence)
        elif message.view is self.view:
            message.view.state = "failed"
            self.trouble(view=message.sentence)

    @on(StatusRead)
    def _status_read(self, message: StatusRead) -> None:
        self.status = message.status
        self.trouble(status="")

    @on(Clicked)
    def _clicked(self, message: Clicked) -> None:
        self.perform(message.action_id)

    def action_verb(self, key: str) -> None:
        """A key of the grammar was pressed."""
        found: Action | None = self.registry.find(key, self._section)
        if found is not None:
            self.perform(found.id)
