"""Doing things: run an action, report how it ended, undo it, ask before it, leave."""

from __future__ import annotations

import asyncio
import inspect
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

from platint_tui.core.errors import PlatintError
from platint_tui.core.redaction import REDACTOR
from platint_tui.tui.actions import Action
from platint_tui.tui.sections import SECTIONS
from platint_tui.tui.themes import LABELS

if TYPE_CHECKING:
    from platint_tui.tui.app import PlatintApp
    from platint_tui.tui.dialogs.ask import Question
    from platint_tui.tui.dialogs.confirm import Confirmation

Undo = Callable[[], Awaitable[str | None]]


def _app(self: object) -> PlatintApp:
    return cast("PlatintApp", self)


class Operations:
    """Handlers of the global actions, and what sections may ask for; part of the app."""

    _undo: tuple[str, Undo] | None = None

    # --- running actions --------------------------------------------------------------------------------

    def perform(self, action_id: str) -> None:
        """Do an action, or say why it does not work here and now."""
        app = _app(self)
        action = app.registry.get(action_id)
        if action is None:
            return
        reason = action.unavailable(app.context())
        if reason is not None:
            app.notice(f"{action.label}: {reason}", "warn")
            return
        owner: Any = app.view if action.section else app
        handler = getattr(owner, action.handler, None)
        if handler is None:
            return
        try:
            result = handler()
        except PlatintError as error:
            self.report(error.sentence(), ok=False)
            return
        if inspect.isawaitable(result):
            app.run_worker(self._finish(action, result), group="actions")
        elif isinstance(result, str):
            self.report(result)
        app.refresh_keys()

    async def _finish(self, action: Action, result: Awaitable[Any]) -> None:
        app = _app(self)
        try:
            said = await result
        except PlatintError as error:
            self.report(error.sentence(), ok=False)
        except Exception as error:
            self.report(f"{action.label} failed: {app.describe(error)}", ok=False)
        else:
            if isinstance(said, str) and said:
                self.report(said)
        app.reload()

    def report(self, text: str, *, ok: bool = True) -> None:
        """Say how something ended: status line and action log."""
        app = _app(self)
        text = REDACTOR.redact(text)
        app.log_book.add(app.clock.now_ms(), text, ok)
        app.notice(text, "ok" if ok else "bad")

    @property
    def undo_label(self) -> str:
        """What `z` would take back."""
        return self._undo[0] if self._undo else ""

    def offer_undo(self, label: str, undo: Undo) -> None:
        """Make `z` take the last action back."""
        self._undo = (label, undo)
        _app(self).refresh_keys()

    async def undo_last(self) -> str:
        """Take the last action back."""
        if self._undo is None:
            return "There is nothing to undo."
        label, undo = self._undo
        self._undo = None
        return await undo() or f"Undone: {label}."

    def reload(self) -> None:
        """Load and show the current view again, now."""
        bridge = _app(self).bridge
        if bridge is not None:
            bridge.refresh()

    refresh_now = reload

    def toggle_pause(self) -> str | None:
        """Hold the live view, or let it go on."""
        bridge = _app(self).bridge
        if bridge is None:
            return None
        bridge.paused = not bridge.paused
        if not bridge.paused:
            bridge.refresh()
        _app(self).notice("")
        return None

    def copy(self, text: str, what: str) -> None:
        """Put text on the clipboard and report it."""
        app = _app(self)
        app.copy_to_clipboard(REDACTOR.redact(text))
        self.report(f"Copied {what}.")

    # --- dialogs ----------------------------------------------------------------------------------------

    async def confirm(self, confirmation: Confirmation) -> bool:
        """Ask before something that cannot be taken back."""
        from platint_tui.tui.dialogs.confirm import ConfirmScreen

        answer: bool | None = await _app(self).push_screen_wait(ConfirmScreen(confirmation))
        return answer is True

    async def ask(self, question: Question) -> str | None:
        """Ask for one line of text."""
        from platint_tui.tui.dialogs.ask import AskScreen

        return await _app(self).push_screen_wait(AskScreen(question))

    def show_help(self) -> None:
        """What every key does here."""
        from platint_tui.tui.dialogs.help import HelpScreen

        app = _app(self)
        app.push_screen(HelpScreen(app.registry, app.section, app.context()))

    def show_palette(self) -> None:
        """Find an action or an object by typing."""
        from platint_tui.tui.dialogs.palette import PaletteScreen

        app = _app(self)
        app.push_screen(PaletteScreen(app))

    def show_jump(self) -> None:
        """Move the focus by a letter."""
        from platint_tui.tui.dialogs.jump import JumpScreen

        app = _app(self)
        if app.view is not None:
            app.push_screen(JumpScreen(app.view))

    async def ask_quit(self) -> None:
        """Leave; with active runs a person says what becomes of them."""
        from platint_tui.tui.dialogs.choose import Choice, ChooseScreen

        app = _app(self)
        if any(isinstance(screen, ChooseScreen) for screen in app.screen_stack):
            return
        active = app.status.active if app.status else ()
        if not active or app.read_only:
            app.exit(0)
            return
        names = ", ".join(f"run {run.number} of {run.integration}" for run in active[:4])
        answer = await app.push_screen_wait(
            ChooseScreen(
                "Work is going on",
                (f"Active: {names}{' and more' if len(active) > 4 else ''}.",),
                (
                    Choice("stay", "escape", "stay here", "Nothing changes."),
                    Choice("keep", "k", "keep running", "The engine goes on without the screen."),
                    Choice("stop", "s", "stop", "At the next page; positions are kept."),
                ),
            )
        )
        if answer == "stop":
            from platint_tui.services import syncs

            for run in active:
                try:
                    await syncs.cancel(app.workspace, run.id)
                except PlatintError as error:
                    self.report(error.sentence(), ok=False)
        if answer in ("keep", "stop"):
            app.exit(0)

    # --- the process ------------------------------------------------------------------------------------

    def load_all_actions(self) -> None:
        """Make the actions of all sections known to help and palette."""
        for info in SECTIONS.values():
            _app(self).registry.add(info.load().ACTIONS)

    def handle_signals(self) -> None:
        """Leave the terminal as it was on SIGTERM, SIGHUP and SIGINT, with 128 plus the signal's number."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            code = 128 + int(number)
            try:
                loop.add_signal_handler(number, _app(self).exit, code, code)
            except (NotImplementedError, RuntimeError, ValueError):
                return

    # --- the theme --------------------------------------------------------------------------------------

    def choose_theme(self, name: str) -> None:
        """Change the theme and remember it."""
        app = _app(self)
        app.theme = name

        async def remember() -> None:
            from platint_tui.services import settings

            try:
                if not app.read_only:
                    await settings.set_theme(app.workspace, name)
                self.report(f"Theme: {LABELS.get(name, name)}.")
            except PlatintError as error:
                self.report(error.sentence(), ok=False)

        app.run_worker(remember(), group="theme", exclusive=True)
