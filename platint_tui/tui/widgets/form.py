"""A form made from field descriptions: labels, help, masked secrets, choices, errors under their field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Input, Static

from platint_tui.core.text import clean
from platint_tui.tui.widgets.cells import tame
from platint_tui.tui.widgets.inputs import LineInput, harmless

MOST_TEXT = 4 * 1024
MOST_SECRET = 64 * 1024


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A field of a form. `choices` are (value, label); with choices the answer is one of them."""

    id: str
    label: str
    help: str = ""
    value: str = ""
    secret: bool = False
    required: bool = False
    choices: tuple[tuple[str, str], ...] = ()
    placeholder: str = ""


def single_line(text: str, most: int) -> tuple[str, str]:
    """Pasted text as one bounded line, and what was done to it ("" for nothing)."""
    stripped = text.strip()
    joined = "".join(stripped.splitlines())
    line = harmless(joined)
    said = []
    if joined != stripped:
        said.append("line ends were taken out")
    if line != joined:
        said.append("control characters were taken out")
    if len(line) > most:
        line = line[:most]
        said.append(f"it was cut at {most:,} characters")
    return line, f"The text was pasted: {' and '.join(said)}." if said else ""


class Line(LineInput):
    """An input of one line. What is pasted becomes one bounded line, with a notice."""

    @dataclass
    class Noticed(Message):
        """Something was done to a pasted text."""

        line: Line
        text: str

    def __init__(self, *, most: int, secret: bool, value: str, id: str, placeholder: str = "") -> None:
        hint = "not shown as you type" if secret else placeholder
        super().__init__(value=value, password=secret, placeholder=hint, id=id, max_length=most, compact=True)
        self._most = most

    def on_paste(self, event: events.Paste) -> None:
        """One bounded line of what was pasted, instead of what the input would make of it."""
        _, notice = single_line(event.text, self._most)
        super().on_paste(event)
        if notice:
            self.post_message(self.Noticed(self, notice))


class Choice(Widget, can_focus=True):
    """One of a few options, all of them shown; left and right choose."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,space", "step(1)", "Next", show=False),
        Binding("left", "step(-1)", "Before", show=False),
    ]
    DEFAULT_CSS = """
    Choice { height: auto; width: 1fr; padding: 0 1; }
    Choice:focus { background: $panel; }
    """
    chosen: reactive[int] = reactive(0, layout=True, init=False)

    @dataclass
    class Changed(Message):
        """Another option was chosen."""

        field_id: str
        value: str

    def __init__(
        self, options: Sequence[tuple[str, str]], value: str, *, field_id: str, ascii_only: bool
    ) -> None:
        super().__init__(id=f"input-{_slug(field_id)}")
        self._field_id = field_id
        self._options = tuple(options)
        self._signs = ("(*)", "( )") if ascii_only else ("●", "○")
        values = [option for option, _ in options]
        self.set_reactive(Choice.chosen, values.index(value) if value in values else 0)

    @property
    def value(self) -> str:
        """The chosen option."""
        return self._options[self.chosen][0]

    def watch_chosen(self) -> None:
        """Tell the form."""
        self.post_message(self.Changed(self._field_id, self.value))

    def action_step(self, step: int) -> None:
        """The next or the previous option."""
        self.chosen = (self.chosen + step) % len(self._options)

    def render(self) -> Content:
        """All options, the chosen one filled."""
        parts: list[Content] = []
        for index, (_, label) in enumerate(self._options):
            here = index == self.chosen
            style = ("bold $text-primary" if self.has_focus else "bold $foreground") if here else ""
            sign = self._signs[0] if here else self._signs[1]
            parts.append(
                Content.styled(f"{sign} {clean(label)}".replace(" ", "\u00a0"), style or "$foreground 60%")
            )
        return Content("   ").join(parts)


class Form(VerticalScroll, can_focus=False):
    """Fields below each other. `values()` gives what was entered; `fail` shows an error where it belongs."""

    DEFAULT_CSS = """
    Form {
        height: auto;
        scrollbar-size: 1 1;
        scrollbar-color: $foreground 20%;
        scrollbar-color-hover: $foreground 35%;
        scrollbar-color-active: $primary;
        scrollbar-background: $surface;
        scrollbar-background-hover: $surface;
        scrollbar-background-active: $surface;
        & .field { height: auto; margin-bottom: 1; }
        & .row { height: auto; }
        & .label { height: 1; width: 20; padding-right: 1; text-overflow: ellipsis; text-wrap: nowrap; }
        & .help, & .error { height: auto; width: 1fr; margin-left: 20; padding-left: 1; }
        & .help { color: $foreground 55%; }
        & .error { color: $text-error; display: none; }
        & .failed .error { display: block; }
        & .failed .help { display: none; }
        & Line {
            width: 1fr; height: 1; padding: 0 1; margin: 0; border: none; background: $panel 50%;
        }
        & Line:focus { background: $panel; border: none; }
    }
    """

    @dataclass
    class Submitted(Message):
        """Enter was pressed in the last field."""

        form: Form

    @dataclass
    class Edited(Message):
        """Something was typed or chosen."""

        form: Form

    def __init__(
        self,
        fields: Sequence[FieldSpec],
        *,
        ascii_only: bool = False,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._fields = tuple(fields)
        self._ascii = ascii_only

    def compose(self) -> ComposeResult:
        """Label, input, help and a place for an error, for each field."""
        for field in self._fields:
            with Vertical(classes="field", id=f"field-{_slug(field.id)}"):
                with Horizontal(classes="row"):
                    yield Static(Content(tame(field.label)), classes="label", markup=False)
                    yield self._make(field)
                help_text = " ".join(
                    part for part in ("Required." if field.required else "", tame(field.help)) if part
                )
                if help_text:
                    yield Static(Content(help_text), classes="help", markup=False)
                yield Static("", classes="error", markup=False)

    def _make(self, field: FieldSpec) -> Line | Choice:
        if field.choices:
            return Choice(field.choices, field.value, field_id=field.id, ascii_only=self._ascii)
        most = MOST_SECRET if field.secret else MOST_TEXT
        return Line(
            most=most,
            secret=field.secret,
            value=clean(field.value),
            id=f"input-{_slug(field.id)}",
            placeholder=field.placeholder,
        )

    def values(self) -> dict[str, str]:
        """Every field's answer as it stands, secrets included; nobody keeps it longer than needed."""
        return {field.id: self._input(field.id).value for field in self._fields}

    def forget_secrets(self) -> None:
        """Empty the masked fields."""
        for field in self._fields:
            if field.secret:
                line = self._input(field.id)
                if isinstance(line, Line):
                    line.value = ""

    def mask(self, *, hide: bool) -> None:
        """Mask the secret fields, or show what is typed into them (references are no secrets)."""
        for field in self._fields:
            line = self._input(field.id)
            if field.secret and isinstance(line, Line):
                if line.password and not hide:
                    # What was typed as a secret is not brought to light.
                    line.value = ""
                line.password = hide

    def fail(self, where: str, sentence: str) -> bool:
        """Show an error under the field `where` and go there; False when there is no such field."""
        self.clear_errors()
        for field in self._fields:
            if field.id == where:
                box = self.query_one(f"#field-{_slug(field.id)}")
                box.add_class("failed")
                box.query_one(".error", Static).update(Content(tame(sentence)))
                self._input(field.id).focus(scroll_visible=False)
                self.call_after_refresh(box.scroll_visible, animate=False)
                return True
        return False

    def show_field(self, where: str, shown: bool) -> None:
        """Show a field, or leave it out for now."""
        self.query_one(f"#field-{_slug(where)}").display = shown

    def clear_errors(self) -> None:
        """Take the errors away."""
        for box in self.query(".failed"):
            box.remove_class("failed")

    def focus_first(self) -> None:
        """Start at the first field."""
        if self._fields:
            self._input(self._fields[0].id).focus()

    def _input(self, field_id: str) -> Line | Choice:
        found = self.query_one(f"#input-{_slug(field_id)}")
        assert isinstance(found, (Line, Choice))
        return found

    def on_line_noticed(self, message: Line.Noticed) -> None:
        """Say under the field what was done to a pasted text."""
        message.stop()
        box = self._box(message.line)
        box.add_class("failed")
        box.query_one(".error", Static).update(Content(message.text))

    def on_input_changed(self, event: Input.Changed) -> None:
        """An error goes when its field is edited."""
        event.stop()
        self._box(event.input).remove_class("failed")
        self.post_message(self.Edited(self))

    def on_choice_changed(self) -> None:
        """Another option was chosen."""
        self.post_message(self.Edited(self))

    @staticmethod
    def _box(line: Widget) -> Widget:
        """The field around an input."""
        row = line.parent
        box = row.parent if row is not None else None
        assert isinstance(box, Widget)
        return box

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter goes to the next field; in the last one it submits."""
        event.stop()
        last = self._fields[-1]
        if event.input.id == f"input-{_slug(last.id)}":
            self.post_message(self.Submitted(self))
        else:
            self.screen.focus_next()


def _slug(field_id: str) -> str:
    """A field's id as a widget id: whatever a manifest calls it, it is one."""
    return "".join(char if char.isascii() and char.isalnum() else f"_{ord(char):x}_" for char in field_id)
