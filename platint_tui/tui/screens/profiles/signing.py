"""The dialog of a sign-in: the page to open, or the code to enter, until the platform answers."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Input, Static

from platint_tui.core.errors import PlatintError, joined
from platint_tui.services import login
from platint_tui.services.login import SignedIn, SignIn
from platint_tui.services.workspace import Workspace
from platint_tui.tui.dialogs.base import Dialog, label, words
from platint_tui.tui.present import toned
from platint_tui.tui.widgets.inputs import LineInput


class SignInScreen(Dialog[SignedIn]):
    """Signs in to one profile; leaving it gives the sign-in up."""

    CSS_PATH = ["../../dialogs/dialog.tcss"]  # type: ignore[assignment]  # noqa: RUF012

    def __init__(self, workspace: Workspace, profile: str) -> None:
        super().__init__()
        self.add_class("wide")
        self._workspace = workspace
        self._profile = profile
        self._sign_in: SignIn | None = None

    def compose(self) -> ComposeResult:
        """What to do, the page or code, the line for a pasted address, a way out."""
        with Vertical():
            yield words(f"Sign in to {self._profile}", "strong", classes="title")
            yield words("Asking the platform…", "muted", classes="text", id="told")
            yield Static("", id="page", classes="text", markup=False)
            yield LineInput(
                id="pasted", placeholder="The address at which the browser of another machine ended"
            )
            yield Static("", id="problem", classes="problem", markup=False)
            with Horizontal(classes="buttons"):
                yield Button(label("Give up  esc"), id="cancel")
                yield Button(label("Copy the address"), id="copy")

    def on_mount(self) -> None:
        """Start at once."""
        self.query_one("#pasted").display = False
        self.query_one("#copy", Button).focus()
        self.run_worker(self._run(), group="sign-in", exclusive=True)

    async def _run(self) -> None:
        try:
            async with login.start(self._workspace, self._profile) as sign_in:
                self._sign_in = sign_in
                self._show(sign_in)
                self.dismiss(await sign_in.wait(self._left))
        except PlatintError as error:
            self._say(joined(error.message, error.hint))

    def _show(self, sign_in: SignIn) -> None:
        opened = login.open_browser(sign_in.url, self._workspace.environ)
        if sign_in.code:
            told = "The page is open in the browser." if opened else "Open this page on any device."
            self._tell(f"{told} Enter the code there:   {sign_in.code}")
        elif opened:
            self._tell("The browser shows the sign-in page. Waiting for its answer.")
        else:
            self._tell(
                "There is no browser here. Open this page on another machine; paste below where it ends."
            )
        self.query_one("#page", Static).update(toned(sign_in.url, "muted"))
        if not sign_in.code:
            self.query_one("#pasted").display = True

    def _left(self, seconds: float) -> None:
        minutes, rest = divmod(int(seconds), 60)
        self._say(f"Waiting for the code; it is good for {minutes}:{rest:02d} more.", "muted")

    def _tell(self, text: str) -> None:
        self.query_one("#told", Static).update(toned(text))

    def _say(self, text: str, tone: str = "bad") -> None:
        self.query_one("#problem", Static).update(toned(text, tone))

    @on(Input.Submitted, "#pasted")
    async def _pasted(self, event: Input.Submitted) -> None:
        if self._sign_in is None or not event.value.strip():
            return
        try:
            done = await self._sign_in.finish(event.value)
        except PlatintError as error:
            self._say(joined(error.message, error.hint))
        else:
            self.dismiss(done)

    @on(Button.Pressed, "#copy")
    def _copy(self) -> None:
        if self._sign_in is not None:
            self.app.copy_to_clipboard(self._sign_in.url)
            self._say("Copied.", "muted")

    @on(Button.Pressed, "#cancel")
    def _cancelled(self) -> None:
        self.dismiss(None)
