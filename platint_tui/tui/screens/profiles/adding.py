"""Dialogs: choose a platform and fill its form; change the plain fields of a profile."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Static

from platint_tui.core.errors import ConfigError, PlatintError, joined
from platint_tui.manifest.form import FormView, Way
from platint_tui.services import profiles
from platint_tui.services.profiles import PlatformView
from platint_tui.tui import glyphs
from platint_tui.tui.dialogs.base import Dialog, words
from platint_tui.tui.dialogs.pick import PickScreen
from platint_tui.tui.present import toned
from platint_tui.tui.screens.profiles.words import (
    NAME,
    PLACE,
    edit_fields,
    form_fields,
    platform_columns,
    wanted_of,
    way_columns,
)
from platint_tui.tui.widgets.form import Choice, FieldSpec, Form

if TYPE_CHECKING:
    from platint_tui.core.model import Profile
    from platint_tui.services.workspace import Workspace


class PlatformScreen(PickScreen[PlatformView, str]):
    """Which platform a new profile is for."""

    CSS_PATH = ["../../dialogs/dialog.tcss"]  # type: ignore[assignment]  # noqa: RUF012

    def __init__(self, platforms: Sequence[PlatformView]) -> None:
        super().__init__(
            "A profile for which platform?",
            platforms,
            platform_columns(),
            lambda item: item.platform,
            lambda item: f"{item.name} {item.platform} {item.category}",
            empty="No manifests were found.",
        )

    def picked(self, row: PlatformView) -> None:
        """The platform, unless its manifest is broken."""
        if row.error:
            self.say(row.error)
        else:
            self.dismiss(row.platform)


class WayScreen(PickScreen[Way, Way]):
    """How a new profile signs in, where a platform offers several ways."""

    CSS_PATH = ["../../dialogs/dialog.tcss"]  # type: ignore[assignment]  # noqa: RUF012

    def __init__(self, form: FormView) -> None:
        super().__init__(
            f"How does {form.name} let you in?",
            form.ways,
            way_columns(form),
            lambda way: way.label,
            lambda way: way.label,
        )

    def picked(self, row: Way) -> None:
        """That way."""
        self.dismiss(row)


@dataclass(frozen=True, slots=True)
class Added:
    """A profile was stored; whether to test it now."""

    name: str
    test: bool


class FormDialog(Dialog[Added]):
    """A form with its buttons; what `save` raises is shown under the field that it names."""

    CSS_PATH = ["../../dialogs/dialog.tcss", "adding.tcss"]  # type: ignore[assignment]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s,f2", "save", "Save", show=False, priority=True),
        Binding("ctrl+t,f3", "save_and_test", "Save and test", show=False, priority=True),
    ]

    def __init__(self, title: str, fields: Sequence[FieldSpec]) -> None:
        super().__init__()
        self.add_class("filling", "tall")
        self._title = title
        self._fields = fields
        self._busy = False

    def compose(self) -> ComposeResult:
        """Title, form, problem, buttons."""
        with Vertical():
            yield words(self._title, "strong", classes="title")
            yield Form(self._fields, ascii_only=glyphs.current() is glyphs.ASCII, id="form")
            yield Static("", id="problem", classes="problem", markup=False)
            with Horizontal(classes="buttons"):
                yield Button(Content("Cancel  esc"), id="cancel")
                yield Button(Content("Save  ^s"), id="save")
                yield Button(Content("Save and test  ^t"), id="test")

    @property
    def form(self) -> Form:
        """The form."""
        return self.query_one(Form)

    def on_mount(self) -> None:
        """Start at the first field."""
        self.form.focus_first()

    async def save(self) -> str:
        """Store what was entered; returns the profile's name. Raises PlatintError."""
        raise NotImplementedError

    @on(Button.Pressed, "#cancel")
    def _cancelled(self) -> None:
        self.form.forget_secrets()
        self.dismiss(None)

    def action_leave(self) -> None:
        """Close without a decision."""
        self._cancelled()

    @on(Button.Pressed, "#save")
    def action_save(self) -> None:
        """Store."""
        self._start(test=False)

    @on(Button.Pressed, "#test")
    @on(Form.Submitted)
    def action_save_and_test(self) -> None:
        """Store, then run the probes."""
        self._start(test=True)

    def _start(self, *, test: bool) -> None:
        if not self._busy:
            self._busy = True
            self._say("Storing…", "muted")
            self.run_worker(self._save(test), group="save")

    async def _save(self, test: bool) -> None:
        try:
            name = await self.save()
        except PlatintError as error:
            self._busy = False
            sentence = joined(error.message, error.hint)
            where = error.where if self.form.fail(error.where, sentence) else ""
            self._say("" if where else error.sentence(), "bad")
            return
        self.form.forget_secrets()
        self.dismiss(Added(name, test))

    def _say(self, text: str, tone: str) -> None:
        self.query_one("#problem", Static).update(toned(text, tone))


class AddScreen(FormDialog):
    """The form of a new profile."""

    def __init__(
        self, workspace: Workspace, form: FormView, taken: Collection[str], way: Way | None = None
    ) -> None:
        by = f": {way.label}" if way else ""
        super().__init__(f"A profile for {form.name}{by}", form_fields(form, taken))
        self._workspace = workspace
        self._fixed = dict(way.fixed) if way else {}
        self._view = form
        self._taken = taken

    @on(Choice.Changed)
    def _placed(self, message: Choice.Changed) -> None:
        if message.field_id == PLACE:
            self.form.mask(hide=message.value != "reference")

    async def save(self) -> str:
        """Check the form, store the secrets, store the profile."""
        wanted = wanted_of(self._view, self.form.values())
        if wanted.name in self._taken:
            raise ConfigError("A profile with this name is there already.", where=NAME)
        lacking = self._view.lacking(
            {*wanted.secrets, *(name for name, text in wanted.values.items() if text)}
        )
        if lacking is not None:
            raise ConfigError(f"{lacking.label} is missing.", hint=lacking.help, where=lacking.id)
        made = await profiles.add(
            self._workspace,
            name=wanted.name,
            platform=wanted.platform,
            environment=wanted.environment,
            values={**wanted.values, **self._fixed},
            secrets=wanted.secrets,
            place=wanted.place,
        )
        return made.name


class EditScreen(FormDialog):
    """The plain fields of an existing profile."""

    def __init__(self, workspace: Workspace, form: FormView, profile: Profile) -> None:
        super().__init__(f"Edit {profile.name}", edit_fields(form, profile))
        self._workspace = workspace
        self._profile = profile

    async def save(self) -> str:
        """Store the changed fields."""
        changed = await profiles.edit_fields(self._workspace, self._profile.name, self.form.values())
        return changed.name
