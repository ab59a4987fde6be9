"""Settings: where files and secrets are, what is kept how long, the theme, and what was done here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from platint_tui.tui import glyphs, present
from platint_tui.tui.actions import Action, Context
from platint_tui.tui.listing import Listing
from platint_tui.tui.reports import Report
from platint_tui.tui.screens.events.receiverwords import listener, place
from platint_tui.tui.screens.settings.receiver import ReceiverScreen
from platint_tui.tui.sections import SectionView
from platint_tui.tui.themes import LABELS, following
from platint_tui.tui.widgets.cells import Cell, Column

if TYPE_CHECKING:
    from platint_tui.services.settings import SettingsView
    from platint_tui.services.workspace import Workspace
    from platint_tui.tui.app import PlatintApp

Pieces = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The settings and the action log as they are."""

    settings: SettingsView
    reports: tuple[Report, ...]


def _may_copy(context: Context) -> str | None:
    view = cast("SettingsSection", context.view)
    return None if view.entries.current is not None else "The action log is empty."


class SettingsSection(SectionView):
    """Facts above, the action log below."""

    SECTION = "settings"
    ACTIONS = (
        Action(
            "settings.theme",
            ("w",),
            "theme",
            "The next theme: dark, light, high contrast, deuteranopia, tritanopia.",
            "next_theme",
            section="settings",
            needs_store=True,
            footer=10,
        ),
        Action(
            "settings.receiver",
            ("e",),
            "webhooks",
            "Change where webhooks are received, and the public URL that vendors call.",
            "edit_receiver",
            section="settings",
            writes=True,
            footer=15,
        ),
        Action(
            "settings.copy",
            ("y",),
            "copy",
            "Copy the line of the action log.",
            "copy_row",
            section="settings",
            footer=20,
            enabled=_may_copy,
        ),
    )

    _shown: SettingsView | None = None

    def compose(self) -> ComposeResult:
        """The two parts."""
        with VerticalScroll(id="facts-scroll"):
            yield Static(id="facts", markup=False)
        columns: tuple[Column[tuple[int, Report]], ...] = (
            Column("", lambda row: self._when(row[1]), 10, align="right"),
            Column("", lambda row: self._sign(row[1]), 1),
            Column("", lambda row: Cell(row[1].text), 20, grow=1),
        )
        yield Listing(
            columns,
            lambda row: str(row[0]),
            heading="Action log",
            empty="Nothing was done yet. Every action is kept here with its result.",
            id="log",
        )

    def _when(self, report: Report) -> Cell:
        return Cell(present.age(report.at_ms, self.console.clock.now_ms()), "muted")

    @staticmethod
    def _sign(report: Report) -> Cell:
        signs = glyphs.current()
        return Cell(signs.tick, "ok") if report.ok else Cell(signs.cross, "bad")

    @property
    def entries(self) -> Listing[tuple[int, Report]]:
        """The action log."""
        return self.query_one("#log", Listing)

    async def load(self, workspace: Workspace) -> Snapshot:
        """The service's view and what this console did."""
        from platint_tui.services import settings

        app = cast("PlatintApp", self.app)
        return Snapshot(await settings.load(workspace), app.log_book.reports())

    def show(self, snapshot: Snapshot) -> None:
        """Write the facts and the log."""
        self._shown = snapshot.settings
        self.query_one("#facts", Static).update(self._facts(snapshot.settings))
        numbered = [
            (len(snapshot.reports) - index, report) for index, report in enumerate(snapshot.reports[:200])
        ]
        self.entries.show(numbered)

    def _facts(self, view: SettingsView) -> Content:
        lines: list[Pieces] = [[("Files", "strong")]]
        for item in view.places:
            note = present.size(item.size) if item.size is not None else ("" if item.exists else "not yet")
            lines.append(_fact(item.label, str(item.path), note))
        for folder in view.connectors:
            lines.append(_fact("more manifests", str(folder), "--connectors"))
        lines += [[], [("Webhooks", "strong")], *self._receiver(view), []]
        lines += [[("Secrets", "strong")], *self._vault(view), []]
        lines += [[("Kept", "strong")], *(_fact(name, length) for name, length in view.retention), []]
        theme = LABELS.get(self.app.theme, self.app.theme)
        lines += [
            [("This console", "strong")],
            _fact("theme", theme, "w changes it"),
            _fact("may write", "no, read-only" if view.read_only else "yes"),
            _fact("keys", "? shows every key", ""),
            _fact("platint-tui", view.version, f"SQLite {view.sqlite_version}"),
        ]
        return Content("\n").join(present.joined([("  ", ""), *pieces]) for pieces in lines)

    def _receiver(self, view: SettingsView) -> list[Pieces]:
        """Who listens, and what vendors call."""
        state = [("  state                 ", "muted"), *listener(view.receiver, self.console.clock.now_ms())]
        public = view.receiver.public_url
        return [
            _fact("listen on", place(view.receiver), "e changes it"),
            _fact("public URL", public or "none", "vendors call it" if public else "e tells it"),
            state,
        ]

    @staticmethod
    def _vault(view: SettingsView) -> list[Pieces]:
        vault = view.vault
        lines = [
            _fact("keyring", vault.keyring or "none", "" if vault.keyring_usable else vault.keyring_problem)
        ]
        if vault.file_exists:
            state = "unlocked" if vault.file_unlocked else "locked"
            lines.append(_fact("vault file", str(vault.file), vault.file_problem or state))
        else:
            lines.append(_fact("vault file", "none", "made when a secret is stored in it"))
        return lines

    def focus_first(self) -> None:
        """The facts, to scroll."""
        self.query_one("#facts-scroll").focus()

    async def edit_receiver(self) -> str | None:
        """Change where webhooks are received and what vendors call."""
        from platint_tui.services import settings

        view = self._shown
        if view is None:
            return None
        screen = ReceiverScreen(view.receiver.listen, view.receiver.public_url)
        answer = await self.app.push_screen_wait(screen)
        if answer is None:
            return "Nothing was changed."
        await settings.set_receiver(self.console.workspace, *answer)
        return "Kept. An engine that runs listens there within moments; 6 shows whether it does."

    def next_theme(self) -> None:
        """The theme after this one."""
        cast("PlatintApp", self.app).choose_theme(following(self.app.theme))

    def copy_row(self) -> None:
        """The line under the cursor of the log."""
        row = self.entries.current
        if row is not None:
            self.console.copy(row[1].text, "the line")


def _fact(label: str, value: str, note: str = "") -> Pieces:
    pieces: Pieces = [(f"  {label:<22}", "muted"), (value, "")]
    if note:
        pieces.append((f"   {note}", "muted"))
    return pieces
