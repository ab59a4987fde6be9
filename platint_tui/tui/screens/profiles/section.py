"""Profiles: the accounts that are configured; add, test, edit, remove."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from platint_tui.core.errors import ConfigError, PlatintError
from platint_tui.core.jsontext import dumps
from platint_tui.core.text import clean
from platint_tui.services import profiles
from platint_tui.services.profiles import ProfileView
from platint_tui.tui import present
from platint_tui.tui.actions import Action, Context
from platint_tui.tui.dialogs.confirm import Confirmation
from platint_tui.tui.listing import Listing
from platint_tui.tui.screens.profiles import words
from platint_tui.tui.screens.profiles.words import Entry
from platint_tui.tui.sections import SectionView

if TYPE_CHECKING:
    from platint_tui.services.workspace import Workspace
    from platint_tui.tui.screens.profiles.adding import Added

_EMPTY = (
    "No profiles yet.\n\n"
    "A profile is one account on one platform; its secrets go to the keyring.\n"
    "a adds one: choose the platform, fill its form, test it."
)


@dataclass(frozen=True, slots=True)
class Accounts:
    """What one load brings."""

    views: tuple[ProfileView, ...]


def _chosen(context: Context) -> str | None:
    view = cast("ProfilesSection", context.view)
    return None if view.current is not None else "Add a profile first: a."


def _testable(context: Context) -> str | None:
    view = cast("ProfilesSection", context.view)
    if view.current is not None and view.current.testing:
        return "It is being tested."
    return _chosen(context)


def _asks(context: Context) -> str | None:
    view = cast("ProfilesSection", context.view)
    if view.current is not None and not view.current.view.asks:
        return "This profile signs in by itself; t tests it."
    return _chosen(context)


class ProfilesSection(SectionView):
    """The list of profiles, and what is known of the one under the cursor."""

    SECTION = "profiles"
    EMPTY = _EMPTY
    ACTIONS = (
        Action("profiles.add", ("a",), "add", "Add a profile: a form made from the platform's manifest.",
               "add_profile", section="profiles", writes=True, footer=1),
        Action("profiles.test", ("t",), "test", "Run every probe of the platform and show each result.",
               "test_profile", section="profiles", writes=True, footer=2, enabled=_testable),
        Action("profiles.sign_in", ("o",), "sign in", "Sign in with the browser or a code, where it is wanted.",
               "sign_in", section="profiles", writes=True, footer=3, enabled=_asks),
        Action("profiles.edit", ("e",), "edit", "Change the plain fields of a profile.",
               "edit_profile", section="profiles", writes=True, footer=4, enabled=_chosen),
        Action("profiles.remove", ("d",), "remove", "Remove a profile and its secrets; runs and dead letters stay.",
               "remove_profile", section="profiles", writes=True, footer=5, enabled=_chosen),
        Action("profiles.copy", ("y",), "copy", "Copy the profile as JSON; it holds no secret.",
               "copy_profile", section="profiles", footer=6, enabled=_chosen),
    )  # fmt: skip

    _views: tuple[ProfileView, ...] = ()
    _wanted = ""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._testing: set[str] = set()
        self._problems: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        """List and facts."""
        yield Listing(
            words.columns(self._now), lambda entry: entry.view.profile.name, empty=_EMPTY, id="profiles"
        )
        with VerticalScroll(id="facts-box", can_focus=False):
            yield Static("", id="facts", markup=False)

    def _now(self) -> int:
        return self.console.clock.now_ms()

    @property
    def listing(self) -> Listing[Entry]:
        """The list."""
        found: Listing[Entry] = self.query_one("#profiles", Listing)
        return found

    @property
    def current(self) -> Entry | None:
        """The profile under the cursor."""
        return self.listing.current

    async def load(self, workspace: Workspace) -> Accounts:
        """All profiles with their last test."""
        return Accounts(tuple(await profiles.list_profiles(workspace)))

    def show(self, snapshot: Accounts) -> None:
        """Put a snapshot on the screen."""
        self._views = snapshot.views
        self._draw()
        if self._wanted and self.listing.go_to(self._wanted):
            self._wanted = ""

    def _draw(self) -> None:
        entries = [
            Entry(view, view.profile.name in self._testing, self._problems.get(view.profile.name, ""))
            for view in self._views
        ]
        self.listing.show(entries)
        self._draw_facts()

    def _draw_facts(self) -> None:
        entry = self.current
        pieces = words.facts(entry, self._now()) if entry else []
        self.query_one("#facts", Static).update(present.joined(pieces, lines=True))
        self.set_class(entry is None, "-bare")

    def identities(self, snapshot: Accounts) -> Sequence[Hashable]:
        """The names."""
        return [view.profile.name for view in snapshot.views]

    def focus_first(self) -> None:
        """The list."""
        self.listing.focus()

    def open_object(self, kind: str, id: str) -> None:
        """`profile` by name, `new` to add one."""
        if kind == "profile":
            if not self.listing.go_to(id):
                self._wanted = id
        elif kind == "new":
            self.console.perform("profiles.add")

    @on(Listing.Moved, "#profiles")
    def _moved(self) -> None:
        self._draw_facts()
        self.console.refresh_keys()

    @on(Listing.Opened, "#profiles")
    def _opened(self) -> None:
        if self.current is not None:
            self.console.go("discovery", "profile", self.current.view.profile.name)

    # --- actions ----------------------------------------------------------------------------------------

    async def add_profile(self) -> str | None:
        """Choose a platform, fill its form, store; test at once if wanted."""
        from platint_tui.tui.screens.profiles.adding import AddScreen, PlatformScreen, WayScreen

        workspace = self.console.workspace
        platform = await self.app.push_screen_wait(PlatformScreen(profiles.platforms(workspace)))
        if platform is None:
            return None
        taken = {view.profile.name for view in self._views}
        form = profiles.form(workspace, platform)
        way = None
        if form.ways:
            way = await self.app.push_screen_wait(WayScreen(form))
            if way is None:
                return None
            form = form.by(way)
        added = await self.app.push_screen_wait(AddScreen(workspace, form, taken, way))
        return await self._after(added, "added")

    async def edit_profile(self) -> str | None:
        """Change the plain fields."""
        from platint_tui.tui.screens.profiles.adding import EditScreen

        entry = self.current
        if entry is None:
            return None
        workspace = self.console.workspace
        form = profiles.form(workspace, entry.view.profile.platform)
        if all(item.secret for item in form.fields):
            raise ConfigError("This profile has no plain fields.", hint="Remove it and add it again.")
        changed = await self.app.push_screen_wait(EditScreen(workspace, form, entry.view.profile))
        return await self._after(changed, "changed")

    async def _after(self, added: Added | None, verb: str) -> str | None:
        if added is None:
            return "Nothing was changed."
        self._wanted = added.name
        self._views = tuple(await profiles.list_profiles(self.console.workspace))
        self._draw()
        if self.listing.go_to(added.name):
            self._wanted = ""
        entry = self.current
        if entry is not None and entry.view.asks and not entry.view.signed_in:
            return await self._sign_in(added.name)
        if not added.test:
            return f"Profile {added.name} {verb}; t tests it."
        return await self._test(added.name)

    async def sign_in(self) -> str | None:
        """Sign in to the profile under the cursor."""
        entry = self.current
        return await self._sign_in(entry.view.profile.name) if entry else None

    async def _sign_in(self, name: str) -> str:
        from platint_tui.tui.screens.profiles.signing import SignInScreen

        done = await self.app.push_screen_wait(SignInScreen(self.console.workspace, name))
        if done is None:
            return f"Nobody signed in to {name}; o begins again."
        self._views = tuple(await profiles.list_profiles(self.console.workspace))
        self._draw()
        told = await self._test(name)
        if done.expires_ms is not None:
            renewed = "renewed by itself" if done.renewable else "then somebody signs in again"
            told += f" The token ends {present.countdown(done.expires_ms, self._now())}, {renewed}."
        return " ".join([told, *done.missing, *done.restarted])

    async def test_profile(self) -> str | None:
        """Run the probes of the profile under the cursor."""
        entry = self.current
        return await self._test(entry.view.profile.name) if entry else None

    async def _test(self, name: str) -> str:
        self._testing.add(name)
        self._problems.pop(name, None)
        self._draw()
        self.console.refresh_keys()
        try:
            check = await profiles.test(self.console.workspace, name)
        except PlatintError as error:
            self._problems[name] = error.sentence()
            raise
        finally:
            self._testing.discard(name)
            self._draw()
        good = sum(1 for item in check.capabilities if item.ok)
        if check.ok:
            return f"{name}: {good} of {len(check.capabilities)} probes passed."
        failed = next(item for item in check.capabilities if not item.ok and not item.optional)
        what = next((view.labels.get(failed.id) for view in self._views if view.profile.name == name), None)
        raise PlatintError(f"{name} failed '{what or failed.id}': {failed.detail}")

    async def remove_profile(self) -> str | None:
        """Remove a profile after its name was typed."""
        entry = self.current
        if entry is None:
            return None
        profile = entry.view.profile
        confirmed = await self.console.confirm(
            Confirmation(
                title=f"Remove profile {profile.name}",
                verb="Remove",
                lines=(
                    f"Its {present.plural(len(profile.secrets), 'secret')} will be deleted from where they are kept.",
                    "Runs and dead letters stay. This cannot be undone.",
                ),
                host=", ".join(profile.origins),
                typed=profile.name,
            )
        )
        if not confirmed:
            return "Nothing was removed."
        await profiles.remove(self.console.workspace, profile.name)
        return f"Profile {profile.name} was removed."

    def copy_profile(self) -> None:
        """The profile as JSON: references, never secrets."""
        entry = self.current
        if entry is None:
            return
        profile = entry.view.profile
        document = {
            "name": profile.name,
            "platform": profile.platform,
            "environment": profile.environment.value,
            "fields": dict(profile.fields),
            "secrets": dict(profile.secrets),
            "origins": list(profile.origins),
        }
        self.console.copy(clean(dumps(document)), f"profile {profile.name} as JSON")
