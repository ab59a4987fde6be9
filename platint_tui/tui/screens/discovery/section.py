"""Discovery: what an account offers, and what changed since the last time."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from platint_tui.core.errors import PlatintError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import Catalogue, CatalogueChange, Stream
from platint_tui.core.text import clean
from platint_tui.services import discovery, profiles
from platint_tui.services.profiles import ProfileView
from platint_tui.tui import glyphs, present
from platint_tui.tui.actions import Action, Context
from platint_tui.tui.listing import Listing
from platint_tui.tui.screens.discovery import words
from platint_tui.tui.sections import SectionView
from platint_tui.tui.widgets.filterbar import FilterBar
from platint_tui.tui.widgets.outline import Outline

if TYPE_CHECKING:
    from platint_tui.services.workspace import Workspace

_EMPTY = (
    "No profiles yet.\n\n"
    "Discovery shows what an account offers: streams, fields, keys, cursors.\n"
    "Add a profile first: 2, then a."
)
_NOT_YET = "Not discovered yet.\n\nr asks the platform what this account offers."
_SLIM_BELOW = 100
_LOW_BELOW = 30
_CHANGES, _CHANGES_LOW = 6, 3


@dataclass(frozen=True, slots=True)
class Offer:
    """What one load brings: the profiles, and the newest catalogue of the chosen one.

    `stamp` names the catalogue and the one before; as long as it stays, they are not read again.
    """

    views: tuple[ProfileView, ...]
    profile: str
    catalogue: Catalogue | None
    changes: tuple[CatalogueChange, ...]
    stamp: tuple[int, ...] = ()


def _chosen(context: Context) -> str | None:
    view = cast("DiscoverySection", context.view)
    return None if view.profile else "Add a profile first: 2, then a."


def _free(context: Context) -> str | None:
    view = cast("DiscoverySection", context.view)
    return "It is being discovered." if view.profile in view.discovering else _chosen(context)


def _stream(context: Context) -> str | None:
    view = cast("DiscoverySection", context.view)
    stream = view.stream
    if stream is None:
        return "Choose a stream first."
    # A refused one may be tried: the requests show what the platform says.
    able = stream.readable or (stream.refused and not stream.name.endswith("*"))
    return None if able else "This stream cannot be read."


def _offered(context: Context) -> str | None:
    view = cast("DiscoverySection", context.view)
    return None if view.streams else "There are no streams to choose from."


def _any_stream(context: Context) -> str | None:
    view = cast("DiscoverySection", context.view)
    return None if view.stream is not None else "Choose a stream first."


def _changed(context: Context) -> str | None:
    view = cast("DiscoverySection", context.view)
    return None if view.changes else "Nothing changed against the discovery before."


class DiscoverySection(SectionView):
    """Profiles at the left, the streams of the chosen one at the right, changes under them."""

    SECTION = "discovery"
    EMPTY = _EMPTY
    ACTIONS = (
        Action("discovery.run", ("r",), "discover", "Ask the platform what this account offers.",
               "discover", section="discovery", writes=True, footer=1, enabled=_free),
        Action("discovery.preview", ("v",), "preview", "Show a few real records of the stream, and the exact requests.",
               "preview", section="discovery", writes=True, footer=2, enabled=_stream),
        Action("discovery.changes", ("c",), "changes", "Compare with the discovery before: every change.",
               "show_changes", section="discovery", footer=3, enabled=_changed),
        Action("discovery.filter", ("slash",), "filter", "Show only streams with a name or a field like what you type.",
               "start_filter", section="discovery", footer=5, enabled=_offered),
        Action("discovery.copy", ("y",), "copy", "Copy the stream as JSON.",
               "copy_stream", section="discovery", footer=4, enabled=_any_stream),
    )  # fmt: skip

    profile = ""
    _offer: Offer | None = None
    _wanted_stream = ""
    _steer = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.discovering: set[str] = set()
        self._problems: dict[str, str] = {}
        self._drawn: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """Profiles; summary, streams, changes."""
        with Horizontal(id="split"):
            yield Listing(
                words.profile_columns(), lambda view: view.profile.name, empty=_EMPTY, id="accounts"
            )
            with Vertical(id="catalogue"):
                yield Static("", id="summary", markup=False)
                yield FilterBar(id="filter")
                yield Outline(empty=_NOT_YET, ascii_only=glyphs.current() is glyphs.ASCII, id="streams")
                yield Static("", id="changes", markup=False)

    # --- parts ------------------------------------------------------------------------------------------

    @property
    def accounts(self) -> Listing[ProfileView]:
        """The profiles."""
        found: Listing[ProfileView] = self.query_one("#accounts", Listing)
        return found

    @property
    def outline(self) -> Outline:
        """The streams."""
        return self.query_one("#streams", Outline)

    @property
    def streams(self) -> Sequence[Stream]:
        """What the newest discovery of the profile found."""
        return self._offer.catalogue.streams if self._offer is not None and self._offer.catalogue else ()

    @property
    def bar(self) -> FilterBar:
        """What is looked for among the streams."""
        return self.query_one("#filter", FilterBar)

    @property
    def changes(self) -> tuple[CatalogueChange, ...]:
        """What the newest discovery of the profile changed."""
        return self._offer.changes if self._offer is not None else ()

    @property
    def stream(self) -> Stream | None:
        """The stream that the cursor is in."""
        catalogue = self._offer.catalogue if self._offer else None
        if catalogue is None:
            return None
        return next((item for item in catalogue.streams if item.name == self.outline.branch), None)

    # --- snapshot ---------------------------------------------------------------------------------------

    async def load(self, workspace: Workspace) -> Offer:
        """The profiles and the newest catalogue of the chosen one."""
        views = tuple(await profiles.list_profiles(workspace))
        names = [view.profile.name for view in views]
        name = self.profile if self.profile in names else names[0] if names else ""
        if not name:
            return Offer(views, "", None, ())
        stamp = await discovery.stamp(workspace, name)
        held = self._offer
        if held is not None and held.profile == name and held.stamp == stamp:
            # A large catalogue takes a second to read: only when there is a new one.
            return Offer(views, name, held.catalogue, held.changes, stamp)
        if not stamp:
            return Offer(views, name, None, ())
        found, changes = await discovery.newest(workspace, name)
        return Offer(views, name, found, tuple(changes), stamp)

    def show(self, snapshot: Offer) -> None:
        """Put a snapshot on the screen."""
        if (
            self.profile
            and snapshot.profile != self.profile
            and any(view.profile.name == self.profile for view in snapshot.views)
        ):
            return
        self._offer, self.profile = snapshot, snapshot.profile
        self.set_class(not snapshot.views, "-bare")
        self.accounts.show(snapshot.views)
        if self._steer and self.accounts.go_to(snapshot.profile):
            self._steer = False
        self._draw()
        if self._wanted_stream and snapshot.catalogue is not None:
            self.outline.open_branch(self._wanted_stream)
            self.outline.focus()
            self._wanted_stream = ""

    def _draw(self) -> None:
        offer = self._offer
        if offer is None:
            return
        drawing = self.profile in self.discovering
        text = self.bar.text
        drawn = (offer.profile, offer.stamp, drawing, glyphs.current(), self._room(), text)
        self.query_one("#summary", Static).update(present.joined(self._summary(offer)))
        if drawn == self._drawn:
            return
        self._drawn = drawn
        streams = words.matching(self.streams, text)
        self.bar.found(f"{len(streams):,} of {len(self.streams):,}" if text else "")
        empty = "The account offers no streams." if offer.catalogue else _NOT_YET
        if self.profile in self.discovering:
            empty = "Asking the platform…"
        if text:
            empty = "No stream and no field matches. esc clears the filter."
        self.outline.show(words.branches(streams, offer.changes), empty=empty)
        changes = self.query_one("#changes", Static)
        changes.update(present.joined(words.change_lines(offer.changes, self._room()), lines=True))
        changes.display = offer.catalogue is not None

    def _summary(self, offer: Offer) -> list[tuple[str, str]]:
        pieces = [(offer.profile, "strong")]
        if self.profile in self.discovering:
            return [*pieces, ("   discovering…", "info")]
        problem = self._problems.get(self.profile)
        if problem:
            return [*pieces, (f"   {problem}", "bad")]
        if offer.catalogue is None:
            return pieces
        number = present.plural(len(offer.catalogue.streams), "stream")
        age = present.age(offer.catalogue.discovered_ms, self.console.clock.now_ms())
        counts = [] if self.has_class("-slim") else words.change_counts(offer.changes)
        return [*pieces, (f"   {number}   discovered {age}", "muted"), *counts]

    def _room(self) -> int:
        """How many lines of changes are shown: a low screen is for the streams."""
        return _CHANGES if self.app.size.height >= _LOW_BELOW else _CHANGES_LOW

    def identities(self, snapshot: Offer) -> Sequence[Hashable]:
        """The streams."""
        return [stream.name for stream in snapshot.catalogue.streams] if snapshot.catalogue else []

    # --- where the person is ----------------------------------------------------------------------------

    def crumbs(self) -> tuple[str, ...]:
        """Profile and stream."""
        parts = [self.profile] if self.profile else []
        if self.outline.has_focus and self.outline.branch:
            parts.append(self.outline.branch)
        return tuple(parts)

    def focus_first(self) -> None:
        """The profiles, or the streams once a profile has some."""
        self.accounts.focus()

    def go_back(self) -> bool:
        """Close the filter, then from the streams to the profiles."""
        if self.bar.close():
            self.outline.focus()
            return True
        if self.outline.has_focus:
            self.accounts.focus()
            return True
        return False

    def open_object(self, kind: str, id: str) -> None:
        """`profile` by name, `stream` as profile/stream."""
        name, _, stream = id.partition("/")
        if kind in ("profile", "stream"):
            # The list follows what was asked for; everywhere else it leads.
            self._steer = True
            self._turn_to(name)
            self._wanted_stream = stream if kind == "stream" else ""

    def on_resize(self, event: events.Resize) -> None:
        """A narrow screen gives the streams more room."""
        self.set_class(event.size.width < _SLIM_BELOW, "-slim")
        self._draw()

    @on(Listing.Moved, "#accounts")
    def _moved(self) -> None:
        current = self.accounts.current
        if current is not None:
            self._turn_to(current.profile.name)

    @on(Listing.Opened, "#accounts")
    def _opened(self) -> None:
        self.outline.focus()
        self.console.refresh_keys()

    @on(FilterBar.Changed, "#filter")
    def _filter_changed(self) -> None:
        self._draw()
        self.console.refresh_keys()

    @on(FilterBar.Accepted, "#filter")
    def _filter_accepted(self) -> None:
        self.outline.focus()

    @on(Outline.Moved, "#streams")
    def _stream_moved(self) -> None:
        self.console.refresh_keys()

    def on_descendant_focus(self) -> None:
        """The breadcrumb names the stream while the streams have the focus."""
        self.console.refresh_keys()

    def _turn_to(self, name: str) -> None:
        if name != self.profile:
            self.profile = name
            self.console.reload()

    # --- actions ----------------------------------------------------------------------------------------

    async def discover(self) -> str:
        """Run discovery of the chosen profile through the engine."""
        name = self.profile
        self.discovering.add(name)
        self._problems.pop(name, None)
        self._draw()
        self.console.refresh_keys()
        try:
            found, changes = await discovery.discover(self.console.workspace, name)
        except PlatintError as error:
            self._problems[name] = error.sentence()
            raise
        finally:
            self.discovering.discard(name)
            self._draw()
        breaking = sum(1 for change in changes if change.breaking)
        said = f"{name} offers {present.plural(len(found.streams), 'stream')}"
        if not changes:
            return f"{said}."
        return f"{said}; {present.plural(len(changes), 'change')}, {breaking} breaking."

    async def preview(self) -> str | None:
        """A few real records of the stream, in a dialog."""
        from platint_tui.tui.screens.discovery.preview import PreviewScreen

        stream = self.stream
        if stream is None:
            return None
        name = self.profile
        self.console.report(f"Reading a few records of {name}/{stream.name}…")
        found = await discovery.preview(self.console.workspace, name, stream.name)
        records, bad = present.plural(len(found.records), "record"), len(found.bad)
        title = (
            f"{name}/{stream.name}: {records}, {bad} bad, {present.plural(len(found.requests), 'request')}"
        )
        await self.app.push_screen_wait(PreviewScreen(title, found))
        return f"{records} of {name}/{stream.name} were read; nothing was stored."

    def start_filter(self) -> None:
        """Type what to look for."""
        self.bar.open()

    async def show_changes(self) -> None:
        """Every change against the discovery before, in a dialog."""
        from platint_tui.tui.screens.discovery.changes import ChangesScreen

        title = f"{self.profile}: {present.plural(len(self.changes), 'change')} against the discovery before"
        await self.app.push_screen_wait(ChangesScreen(title, self.changes))

    def copy_stream(self) -> None:
        """The stream as JSON."""
        stream = self.stream
        if stream is not None:
            self.console.copy(clean(dumps(asdict(stream))), f"stream {stream.name} as JSON")
