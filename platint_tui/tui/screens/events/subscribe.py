"""Registering a webhook at a platform: what for, which events, to which address; or how to do it there by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Button, Static

from platint_tui.core.errors import PlatintError
from platint_tui.services import subscriptions
from platint_tui.services.inbound import SourceView
from platint_tui.services.subscriptions import Registered
from platint_tui.services.workspace import Workspace
from platint_tui.tui import glyphs, present
from platint_tui.tui.dialogs.base import Dialog, label, words
from platint_tui.tui.widgets.form import FieldSpec, Form

if TYPE_CHECKING:
    from platint_tui.manifest.subscribing import Subscribe
    from platint_tui.tui.sections import Console

_KEPT_SAFE = (
    "The signing secret goes straight to the keyring, or is made here and sent there. It is never shown."
)


def fields_of(ways: Sequence[Subscribe], row: SourceView) -> tuple[FieldSpec, ...]:
    """The form: what the webhook is for (where there are several ways, one of them), the events, the address."""
    fields: list[FieldSpec] = []
    if len(ways) > 1:
        choices = tuple((str(index), _for(way)) for index, way in enumerate(ways))
        fields.append(FieldSpec("way", "for", choices=choices))
    names = dict.fromkeys(name for way in ways for name in way.scope)
    options = dict(item for way in ways for item in way.options.items())
    fields += [FieldSpec(f"scope.{name}", name) for name in names]
    fields += [
        FieldSpec(f"scope.{name}", name, value=value) for name, value in options.items() if name not in names
    ]
    usual = ", ".join(ways[0].types) if ways else ""
    fields.append(FieldSpec("types", "events", value=usual))
    fields.append(FieldSpec("url", "address", value=row.address))
    return tuple(fields)


def _for(way: Subscribe) -> str:
    return " ".join(way.scope) or "the account"


class SubscribeScreen(Dialog[Registered]):
    """The form; it registers when it is sent, and says under a field or below what was wrong."""

    CSS_PATH = ["../../dialogs/dialog.tcss", "subscribe.tcss"]  # type: ignore[assignment]  # noqa: RUF012 - as in Dialog
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s,f2", "send", "Register", show=False, priority=True),
        Binding("down", "app.focus_next", "Next", show=False, priority=True),
        Binding("up", "app.focus_previous", "Before", show=False, priority=True),
    ]

    def __init__(self, workspace: Workspace, row: SourceView, ways: Sequence[Subscribe]) -> None:
        super().__init__()
        self.add_class("subscribe", "wide")
        self._workspace = workspace
        self._row = row
        self._ways = tuple(ways)
        self._busy = False

    def compose(self) -> ComposeResult:
        """Title, form, what was wrong, buttons."""
        ascii_only = glyphs.current() is glyphs.ASCII
        by_hand = all(way.by_hand for way in self._ways)
        with Vertical():
            yield words(
                f"A webhook from {self._row.platform_name} for {self._row.name}", "strong", classes="title"
            )
            yield Form(fields_of(self._ways, self._row), ascii_only=ascii_only, id="form")
            yield words(
                "It is done at the platform by hand; the next step says how." if by_hand else _KEPT_SAFE,
                "muted",
            )
            yield Static("", id="problem", classes="problem", markup=False)
            with Horizontal(classes="buttons"):
                yield Button(label("Cancel  esc"), id="cancel")
                yield Button(label("Next  ^s" if by_hand else "Register  ^s"), id="send")

    def on_mount(self) -> None:
        """Ready to type."""
        self.query_one("#form", Form).focus_first()
        self._show_needed()

    @on(Form.Edited)
    def _show_needed(self) -> None:
        """Only what the chosen way needs."""
        form = self.query_one("#form", Form)
        values = form.values()
        way = self._way(values)
        needed = {*way.scope, *way.options} if way is not None else set()
        for name in values:
            if name.startswith("scope."):
                form.show_field(name, name.removeprefix("scope.") in needed)

    def _way(self, values: dict[str, str]) -> Subscribe | None:
        return self._ways[int(values.get("way", "0"))] if self._ways else None

    @on(Form.Submitted)
    @on(Button.Pressed, "#send")
    def action_send(self) -> None:
        """Register, unless that is under way."""
        form = self.query_one("#form", Form)
        values = form.values()
        way = self._way(values)
        names = {*way.scope, *way.options} if way is not None else set()
        scope = {name: values.get(f"scope.{name}", "").strip() for name in names}
        for name in way.scope if way is not None else ():
            if not scope[name]:
                form.fail(f"scope.{name}", "The webhook is for one of these: name it.")
                return
        types = [part.strip() for part in values["types"].replace(",", " ").split()]
        usual = list(self._ways[0].types) if self._ways else []
        if types == usual:
            types = []  # each way has its own
        if not self._busy:
            self._busy = True
            self._say(f"Asking {self._row.platform_name}…", "muted")
            given = {name: value for name, value in scope.items() if value}
            self.run_worker(self._send(types, given, values["url"].strip()), group="send")

    async def _send(self, types: list[str], scope: dict[str, str], url: str) -> None:
        try:
            made = await subscriptions.subscribe(
                self._workspace, self._row.name, types=types, scope=scope, url=url
            )
        except PlatintError as error:
            self._say(error.sentence(), "bad")
        else:
            self.dismiss(made)
        finally:
            self._busy = False

    def _say(self, text: str, tone: str) -> None:
        self.query_one("#problem", Static).update(present.toned(text, tone))

    @on(Button.Pressed, "#cancel")
    def action_leave(self) -> None:
        """Register nothing."""
        self.dismiss(None)


class ByHandScreen(Dialog[None]):
    """What a person does at the platform; `y` copies the address."""

    CSS_PATH = ["../../dialogs/dialog.tcss", "subscribe.tcss"]  # type: ignore[assignment]  # noqa: RUF012 - as in Dialog
    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "copy", "Copy", show=False)]

    def __init__(self, row: SourceView, made: Registered, console: Console) -> None:
        super().__init__()
        self.add_class("subscribe", "wide")
        self._row = row
        self._made = made
        self._host = console

    def compose(self) -> ComposeResult:
        """The address, and the steps."""
        steps = [f"{index}. {text}" for index, text in enumerate(self._made.by_hand, 1)]
        with Vertical():
            yield words(f"At {self._row.platform_name}, by hand", "strong", classes="title")
            yield Static(present.joined([("address  ", "muted"), (self._made.url, "key")]), markup=False)
            with VerticalScroll(id="steps"):
                yield words("\n".join(steps))
            yield words("The signing secret is entered with e in Profiles (2), without echo.", "muted")
            with Horizontal(classes="buttons"):
                yield Button(label("Copy the address  y"), id="copy")
                yield Button(label("Close  esc"), id="close")

    def on_mount(self) -> None:
        """The steps can be scrolled."""
        self.query_one("#close", Button).focus()

    @on(Button.Pressed, "#copy")
    def action_copy(self) -> None:
        """The address, for the form at the platform."""
        self._host.copy(self._made.url, "the address for the vendor")

    @on(Button.Pressed, "#close")
    def action_leave(self) -> None:
        """Close."""
        self.dismiss(None)
