"""What the list of profiles says, and the form for a new one. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Capability, Environment, Profile
from platint_tui.core.secret import Secret
from platint_tui.manifest.form import FormView, Way
from platint_tui.services.profiles import PlatformView, ProfileView
from platint_tui.tui import present
from platint_tui.tui.widgets.cells import Cell, Column
from platint_tui.tui.widgets.form import FieldSpec

Pieces = list[tuple[str, str]]

NAME = "profile name"
ENVIRONMENT = "environment"
PLACE = "place"
PLACES = (
    ("", "automatic"),
    ("keyring", "keyring"),
    ("vault", "vault"),
    ("reference", "reference"),
)
PLACE_HELP = (
    "Automatic is the keyring, else the vault: an encrypted file. A reference is env:NAME or file:/path."
)
_REFERENCES = ("env:", "file:")


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the list: a profile, and whether it is being tested now."""

    view: ProfileView
    testing: bool
    problem: str = ""


def state_of(entry: Entry) -> tuple[str, str]:
    """A profile's state as glyph and word, with its tone."""
    if entry.testing:
        return present.state_cell("running")[0].replace("running", "testing"), "info"
    check = entry.view.check
    if entry.view.asks and not entry.view.signed_in:
        return "○ sign in", "warn"
    if entry.problem or (check is not None and not check.ok):
        return present.state_cell("failed")
    return present.state_cell("ok") if check is not None else ("○ untested", "muted")


def environment_cell(environment: str) -> Cell:
    """Production stands out, by word and colour."""
    return Cell(str(environment), "warn" if environment == Environment.PRODUCTION else "muted")


def columns(now: Callable[[], int]) -> tuple[Column[Entry], ...]:
    """The list of profiles."""
    return (
        Column("state", lambda entry: Cell(*state_of(entry)), 12),
        Column("profile", lambda entry: Cell(entry.view.profile.name, "strong"), 12, grow=2, most=32),
        Column("platform", lambda entry: Cell(entry.view.platform_name), 12, grow=2, most=28),
        Column("environment", lambda entry: environment_cell(entry.view.profile.environment), 11),
        Column("secrets", lambda entry: Cell(secret_places(entry.view), "muted"), 10, priority=2),
        Column("probes", lambda entry: _probes(entry.view), 6, align="right", priority=3),
        Column("last test", lambda entry: _tested(entry.view, now()), 9, align="right", priority=1),
    )


def secret_places(view: ProfileView) -> str:
    """Where the secrets live, in a word."""
    return ", ".join(sorted(set(view.secret_places.values()))) or "none"


def _probes(view: ProfileView) -> Cell:
    if view.check is None:
        return Cell("-", "muted")
    good = sum(1 for item in view.check.capabilities if item.ok)
    return Cell(f"{good}/{len(view.check.capabilities)}", "muted")


def _tested(view: ProfileView, now_ms: int) -> Cell:
    if view.check is None:
        return Cell("never", "muted")
    days = (now_ms - view.check.checked_ms) // 86_400_000
    return Cell(f"{days} d ago" if days >= 1 else present.age(view.check.checked_ms, now_ms), "muted")


def facts(entry: Entry, now_ms: int) -> Pieces:
    """The panel of the profile under the cursor."""
    profile = entry.view.profile
    pieces: Pieces = [(profile.name, "strong"), (f"   {entry.view.platform_name}", "muted")]
    environment = environment_cell(profile.environment)
    pieces += [("   ", ""), environment, ("\n", "")]
    if entry.problem:
        pieces.append((f"{_line(entry.problem)}\n", "bad"))
    for name, value in profile.fields.items():
        pieces += _fact(name, value)
    for name, place in entry.view.secret_places.items():
        pieces += _fact(name, f"in {place_words(place, profile.secrets[name])}", "muted")
    if entry.view.asks and not entry.view.signed_in:
        pieces.append(("Nobody has signed in yet; o opens the page.\n", "warn"))
    if profile.origins:
        pieces += _fact("sent only to", ", ".join(profile.origins))
    check = entry.view.check
    if check is None:
        return [*pieces, ("\nNot tested yet; t tests it.", "muted")]
    pieces += [("\n", ""), (f"tested {present.age(check.checked_ms, now_ms)}\n", "muted")]
    wide = (
        max(len(entry.view.labels.get(item.id, item.id)) for item in check.capabilities) + 2
        if check.capabilities
        else 0
    )
    for capability in check.capabilities:
        pieces += _capability(capability, entry.view.labels.get(capability.id, capability.id), wide)
    return pieces


def place_words(place: str, reference: str) -> str:
    """Where a secret lives; a reference to a variable or a file is shown, it is none itself."""
    if place in ("env", "file"):
        return reference
    return {"keyring": "the keyring", "vault": "the encrypted file"}.get(place, place)


def _fact(name: str, text: str, tone: str = "") -> Pieces:
    return [(f"{_line(name):<14}", "muted"), (f"  {_line(text)}\n", tone)]


def _capability(capability: Capability, name: str, wide: int) -> Pieces:
    sign, tone = present.state_cell("ok" if capability.ok else "failed")
    if not capability.ok and capability.optional:
        sign, tone = "! without", "warn"
    if not capability.tried:
        sign, tone = "- untried", "muted"
    took = present.milliseconds(capability.latency_ms) if capability.latency_ms is not None else ""
    return [
        (f"{sign:<10}", tone),
        (f"{_line(name):<{wide}}", ""),
        (f"{took:>8}  ", "muted"),
        (f"{_line(capability.detail)}\n", "" if capability.ok else tone),
    ]


def _line(text: str) -> str:
    return " ".join(text.split())


# --- the form -------------------------------------------------------------------------------------------


def platform_columns() -> tuple[Column[PlatformView], ...]:
    """The list of platforms that a profile can be made for."""
    return (
        Column("platform", lambda item: Cell(item.name, "muted" if item.error else "strong"), 20, grow=1, most=30),
        Column("", lambda item: Cell(item.platform, "muted"), 16),
        Column("", lambda item: Cell(item.error or item.category, "bad" if item.error else "muted"), 14, grow=2),
    )  # fmt: skip


def way_columns(form: FormView) -> tuple[Column[Way], ...]:
    """The ways to sign in that a platform offers, with what each needs."""
    labels = {item.id: item.label for item in form.fields}

    def needs(way: Way) -> str:
        return ", ".join(labels[item.id] for item in form.fields if item.id in way.needs)

    return (
        Column("way", lambda way: Cell(way.label, "strong"), 24, grow=1, most=40),
        Column("", lambda way: Cell(needs(way), "muted"), 20, grow=2),
    )


def form_fields(form: FormView, taken: Collection[str]) -> list[FieldSpec]:
    """The fields of a form: name and environment first, then what the manifest asks for, then the place."""
    name = form.platform
    number = 2
    while name in taken:
        name, number = f"{form.platform}-{number}", number + 1
    fields = [FieldSpec(NAME, "Name", "What this account is called here.", value=name, required=True)]
    names = form.environments or tuple(Environment)
    fields.append(
        FieldSpec(
            ENVIRONMENT,
            "Environment",
            "Production asks for more care before anything is written.",
            value=names[0],
            choices=tuple((item, item) for item in names),
        )
    )
    for item in form.fields:
        said = [item.help] if item.help else []
        if item.create_url:
            said.append(f"Made at {item.create_url}")
        fields.append(
            FieldSpec(
                item.id,
                item.label,
                " ".join(said),
                value="" if item.secret else item.default,
                secret=item.secret,
                required=item.required,
                choices=_choices(item.type, item.choices),
            )
        )
    if any(item.secret for item in form.fields):
        fields.append(FieldSpec(PLACE, "Keep secrets in", PLACE_HELP, choices=PLACES))
    return fields


def _choices(kind: str, choices: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    if choices:
        return tuple((item, item) for item in choices)
    return (("true", "yes"), ("false", "no")) if kind == "boolean" else ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filled form, ready for the service."""

    name: str
    platform: str
    environment: str
    values: Mapping[str, str]
    secrets: Mapping[str, Secret | str]
    place: Literal["keyring", "vault"] | None


def wanted_of(form: FormView, answers: Mapping[str, str]) -> Wanted:
    """What a filled form asks for. Raises ConfigError naming the field when a reference is none."""
    place = answers.get(PLACE, "")
    secrets: dict[str, Secret | str] = {}
    for item in form.fields:
        text = answers.get(item.id, "").strip() if item.secret else ""
        if not text:
            continue
        if place == "reference":
            if not text.startswith(_REFERENCES):
                raise ConfigError(
                    "This is no reference.", hint="Write env:NAME or file:/path.", where=item.id
                )
            secrets[item.id] = text
        else:
            secrets[item.id] = Secret(text)
    return Wanted(
        name=answers[NAME].strip(),
        platform=form.platform,
        environment=answers[ENVIRONMENT],
        values={item.id: answers[item.id] for item in form.fields if not item.secret},
        secrets=secrets,
        place="keyring" if place == "keyring" else "vault" if place == "vault" else None,
    )


def edit_fields(form: FormView, profile: Profile) -> list[FieldSpec]:
    """The fields of an existing profile that can be changed: the plain ones."""
    return [
        FieldSpec(
            item.id,
            item.label,
            item.help,
            value=profile.fields.get(item.id, item.default),
            required=item.required,
            choices=_choices(item.type, item.choices),
        )
        for item in form.fields
        if not item.secret
    ]
