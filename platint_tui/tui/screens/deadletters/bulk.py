"""The plan of a replay of many: what would go where, and how; nothing is sent before a word is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.timer import Timer
from textual.widgets import Button, Input, Static

from platint_tui.core.errors import ConfigError, PlatintError
from platint_tui.core.replays import BulkPlan, MappingOf, Order, ReplayOptions
from platint_tui.tui import glyphs, present
from platint_tui.tui.dialogs.base import Dialog, label, words
from platint_tui.tui.dialogs.confirm import needs_name
from platint_tui.tui.screens.deadletters.planwords import plan_lines
from platint_tui.tui.widgets.form import FieldSpec, Form
from platint_tui.tui.widgets.inputs import LineInput

Planner = Callable[[ReplayOptions], Awaitable[BulkPlan]]
_REST_SECONDS = 0.3

FIELDS = (
    FieldSpec(
        "order",
        "order",
        choices=(
            (Order.NEWEST, "newest only"),
            (Order.OLDEST, "oldest first"),
            (Order.ARRIVED, "as arrived"),
        ),
    ),
    FieldSpec(
        "mapping",
        "mapping",
        choices=((MappingOf.TODAY, "of today"), (MappingOf.THEN, "of that time")),
    ),
    FieldSpec("unknown", "answer was lost", choices=(("", "leave out"), ("yes", "send again"))),
    FieldSpec("canary", "canary first", placeholder="so many go first, then it waits"),
    FieldSpec(
        "auto", "after the canary", choices=(("", "wait for my word"), ("yes", "go on if all arrived"))
    ),
    FieldSpec("rate", "at most a second", placeholder="as fast as the limits allow"),
    FieldSpec("target", "another target", placeholder="a profile, or profile/table"),
    FieldSpec("settle", "if elsewhere", choices=(("", "they stay open"), ("yes", "they are done"))),
)


def options_of(values: dict[str, str]) -> ReplayOptions:
    """The options that a form says. Raises ConfigError (code: the field) for what is no number."""
    profile, _, target = values["target"].strip().partition("/")
    return ReplayOptions(
        canary=int(_number(values, "canary", whole=True)),
        auto=bool(values["auto"]),
        rate=_number(values, "rate"),
        order=Order(values["order"]),
        mapping=MappingOf(values["mapping"]),
        to_profile=profile,
        to_target=target,
        settle=bool(values["settle"]),
        unknown=bool(values["unknown"]),
        pauses=True,
    )


def _number(values: dict[str, str], name: str, *, whole: bool = False) -> float:
    text = values[name].strip()
    if not text:
        return 0.0
    try:
        number = float(int(text)) if whole else float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e9:
        kind = "A whole number" if whole else "A number"
        raise ConfigError(f"{kind} from 0, or nothing.", code=name)
    return number


class BulkScreen(Dialog[ReplayOptions]):
    """The plan above, the choices below; every choice makes the plan anew. `y` sends, `t` simulates first.

    Gives the options when it was confirmed, None when nothing is to be sent. `simulate` is called with the options
    as they stand.
    """

    CSS_PATH = ["../../dialogs/dialog.tcss", "bulk.tcss"]  # type: ignore[assignment]  # noqa: RUF012 - as in Dialog
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "confirm", "Replay", show=False),
        Binding("n", "leave", "Cancel", show=False),
        Binding("t", "simulate", "Simulate", show=False),
        Binding("pagedown", "scroll_plan(1)", "Plan down", show=False, priority=True),
        Binding("pageup", "scroll_plan(-1)", "Plan up", show=False, priority=True),
        Binding("down", "app.focus_next", "Next", show=False, priority=True),
        Binding("up", "app.focus_previous", "Before", show=False, priority=True),
    ]

    def __init__(
        self,
        title: str,
        plan: Planner,
        simulate: Callable[[ReplayOptions], Awaitable[None]],
        now: Callable[[], int],
        options: ReplayOptions | None = None,
    ) -> None:
        super().__init__()
        self.add_class("bulk", "tall", "wide")
        self._title = title
        self._planner = plan
        self._simulator = simulate
        self._now = now
        self._first = options or ReplayOptions()
        self._plan: BulkPlan | None = None
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        """Title, plan, choices, the name where it is wanted, buttons."""
        with Vertical():
            yield words(self._title, "strong", classes="title")
            with VerticalScroll(id="plan-scroll", can_focus=False):
                yield Static("", id="plan", markup=False)
            yield Form(_filled(self._first), ascii_only=glyphs.current() is glyphs.ASCII, id="choices")
            with Horizontal(id="typed"):
                yield Static("", id="name-label", markup=False)
                yield LineInput(id="name", compact=True)
            yield Static("", id="verdict", markup=False)
            with Horizontal(classes="buttons"):
                yield Button(label("Cancel  n"), id="cancel")
                yield Button(label("Simulate  t"), id="simulate")
                yield Button(label("Replay  y"), id="confirm", classes="danger", disabled=True)

    def on_mount(self) -> None:
        """The safe choice has the focus; the plan is being made."""
        self.query_one("#cancel", Button).focus()
        self._replan()

    @property
    def plan(self) -> BulkPlan | None:
        """The plan on the screen, None while it is made or cannot be."""
        return self._plan

    @on(Form.Edited)
    def _edited(self) -> None:
        self._plan = None
        self.query_one("#confirm", Button).disabled = True
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(_REST_SECONDS, self._replan)

    def _options(self) -> ReplayOptions | None:
        form = self.query_one("#choices", Form)
        try:
            return options_of(form.values())
        except ConfigError as error:
            form.fail(error.code, error.message)
            return None

    def _replan(self) -> None:
        options = self._options()
        if options is not None:
            self._say("Making the plan…", "muted")
            self.run_worker(self._make_plan(options), group="plan", exclusive=True)

    async def _make_plan(self, options: ReplayOptions) -> None:
        try:
            plan = await self._planner(options)
        except PlatintError as error:
            self.query_one("#plan", Static).update(present.toned("", "muted"))
            self._say(error.sentence(), "bad")
            return
        self._plan = plan
        rows = plan_lines(plan, options, self._now(), self.size.width - 12)
        self.query_one("#plan", Static).update(present.lined(rows))
        self._ask_name(plan)
        self.call_after_refresh(self._say_plan)

    def _say_plan(self) -> None:
        more = self.query_one("#plan-scroll", VerticalScroll).max_scroll_y > 0
        self._say(f"Nothing is sent yet.{' PgDn shows more of the plan.' if more else ''}", "muted")

    def action_scroll_plan(self, direction: int) -> None:
        """See more of the plan where it does not fit."""
        self.query_one("#plan-scroll", VerticalScroll).scroll_relative(y=4 * direction, animate=False)

    def _say(self, text: str, tone: str) -> None:
        self.query_one("#verdict", Static).update(present.toned(text, tone))

    @property
    def _wanted_name(self) -> str:
        """What has to be typed, "" for nothing."""
        plan = self._plan
        if plan is None or not plan.targets:
            return ""
        risky = next((item for item in plan.targets if item.environment == "production"), plan.targets[0])
        return risky.profile if needs_name(environment=risky.environment, count=plan.total) else ""

    def _ask_name(self, plan: BulkPlan) -> None:
        name = self._wanted_name
        self.set_class(bool(name), "-named")
        self.query_one("#name-label", Static).update(present.toned(f"Type {name} to confirm.", "warn"))
        self.query_one("#confirm", Button).label = label("Replay" if name else "Replay  y")
        self._unlock()

    @on(Input.Changed, "#name")
    def _unlock(self) -> None:
        typed = self.query_one("#name", Input).value == self._wanted_name or not self._wanted_name
        ready = self._plan is not None and self._plan.total > 0
        self.query_one("#confirm", Button).disabled = not (typed and ready)

    @on(Input.Submitted, "#name")
    @on(Button.Pressed, "#confirm")
    def action_confirm(self) -> None:
        """Send, when the plan is there and a wanted name has been typed."""
        if not self.query_one("#confirm", Button).disabled:
            self.dismiss(self._options())

    @on(Button.Pressed, "#simulate")
    def action_simulate(self) -> None:
        """Foresee it with these options; this plan is still there afterwards."""
        options = self._options()
        if options is not None:
            self.run_worker(self._simulator(options), group="simulate", exclusive=True)

    @on(Button.Pressed, "#cancel")
    def action_leave(self) -> None:
        """Send nothing."""
        self.dismiss(None)


def _filled(options: ReplayOptions) -> tuple[FieldSpec, ...]:
    from dataclasses import replace

    shown = {
        "order": options.order,
        "mapping": options.mapping,
        "unknown": "yes" if options.unknown else "",
        "canary": str(options.canary or ""),
        "auto": "yes" if options.auto else "",
        "rate": f"{options.rate:g}" if options.rate else "",
        "target": "/".join(part for part in (options.to_profile, options.to_target) if part),
        "settle": "yes" if options.settle else "",
    }
    return tuple(replace(field, value=shown[field.id]) for field in FIELDS)
