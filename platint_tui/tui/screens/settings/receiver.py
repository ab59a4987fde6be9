"""Where webhooks are received, and the public URL that vendors call."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Button

from platint_tui.core.errors import ConfigError
from platint_tui.services import settings
from platint_tui.tui import glyphs
from platint_tui.tui.dialogs.base import Dialog, label, words
from platint_tui.tui.widgets.form import FieldSpec, Form

_WHY = (
    "Vendors cannot call 127.0.0.1. A reverse proxy or a tunnel (cloudflared, ngrok, ssh -R) gives a public address; "
    "it forwards to the address above, and is told here."
)


class ReceiverScreen(Dialog[tuple[str, str]]):
    """Two fields; gives (listen, public URL), or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+s,f2", "send", "Keep", show=False, priority=True)]

    def __init__(self, listen: str, public_url: str) -> None:
        super().__init__()
        self._fields = (
            FieldSpec(
                "listen", "listen on", "HOST:PORT. Nothing means 127.0.0.1:8787, off means nowhere.", listen
            ),
            FieldSpec(
                "public_url", "public URL", "What vendors call, as https://hooks.example.com.", public_url
            ),
        )

    def compose(self) -> ComposeResult:
        """Form, why, buttons."""
        with Vertical():
            yield words("Where webhooks are received", "strong", classes="title")
            yield Form(self._fields, ascii_only=glyphs.current() is glyphs.ASCII, id="form")
            yield words(_WHY, "muted")
            with Horizontal(classes="buttons"):
                yield Button(label("Cancel  esc"), id="cancel")
                yield Button(label("Keep  ^s"), id="send")

    def on_mount(self) -> None:
        """Ready to type."""
        self.query_one("#form", Form).focus_first()

    @on(Form.Submitted)
    @on(Button.Pressed, "#send")
    def action_send(self) -> None:
        """Check, then give the answer."""
        form = self.query_one("#form", Form)
        values = {name: value.strip() for name, value in form.values().items()}
        try:
            settings.check_receiver(values["listen"], values["public_url"])
        except ConfigError as error:
            form.fail(error.code if error.code in values else "listen", error.sentence())
            return
        self.dismiss((values["listen"], values["public_url"]))

    @on(Button.Pressed, "#cancel")
    def action_leave(self) -> None:
        """Change nothing."""
        self.dismiss(None)
