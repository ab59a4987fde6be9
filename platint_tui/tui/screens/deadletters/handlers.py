"""What the actions of the inbox do; part of the section."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from platint_tui.core.errors import ConfigError, PlatintError
from platint_tui.core.model import NATIVE, DeadLetter, Issue
from platint_tui.core.states import DeadLetterState, IssueState
from platint_tui.core.text import clean
from platint_tui.services import deadletters, export
from platint_tui.services.deadletters import DeadLetterFilter
from platint_tui.tui import present
from platint_tui.tui.dialogs.ask import Question
from platint_tui.tui.dialogs.choose import Choice, ChooseScreen
from platint_tui.tui.dialogs.confirm import Confirmation
from platint_tui.tui.screens.deadletters import output
from platint_tui.tui.screens.deadletters.correcting import Correcting
from platint_tui.tui.screens.deadletters.replaying import Replaying
from platint_tui.tui.screens.deadletters.source import chosen
from platint_tui.tui.widgets.payload import text_of

if TYPE_CHECKING:
    from platint_tui.tui.screens.deadletters.section import DeadLettersSection

_DAY_MS = 86_400_000


def _me(self: object) -> DeadLettersSection:
    return cast("DeadLettersSection", self)


class Handlers(Replaying, Correcting):
    """Look, discard, acknowledge, copy, save; with replays and corrections."""

    # --- what is chosen ---------------------------------------------------------------------------------

    @property
    def one_letter(self) -> DeadLetter | None:
        """The one dead letter that is meant: the open one, or the one under the cursor without marks."""
        view = _me(self)
        if view.level == "item":
            shown = view.item_pane.shown
            return shown.letter if shown else None
        if view.level == "items" and not view.items_pane.table.marks:
            return view.items_pane.table.cursor_row
        return None

    @property
    def current_issue(self) -> Issue | None:
        """The issue under the cursor, or the one that is open."""
        view = _me(self)
        if view.level in ("jobs", "rules"):
            return None
        return view.issues_pane.listing.current if view.level == "issues" else view.issue

    @property
    def has_selection(self) -> bool:
        """Whether anything can be acted on."""
        view = _me(self)
        if view.level == "issues":
            return view.issues_pane.listing.current is not None
        return bool(view.items_pane.table.count) if view.level == "items" else self.one_letter is not None

    async def _chosen(self) -> list[DeadLetter]:
        view = _me(self)
        letter = self.one_letter
        if letter is not None:
            return [letter]
        if view.level == "items":
            table = view.items_pane.table
            numbers = table.marked or ((table.cursor_id,) if table.cursor_id is not None else ())
            return await chosen(view.console.workspace, numbers)
        return []

    # --- looking ----------------------------------------------------------------------------------------

    def start_filter(self) -> None:
        """Type a filter."""
        bar = _me(self).filter_bar
        if bar is not None:
            bar.open()

    def change_view(self) -> None:
        """Unresolved or all; in a dead letter the next face."""
        view = _me(self)
        if view.level == "item":
            view.item_pane.next_face()
            return
        view.every_state = not view.every_state
        if view.level == "items":
            view._show_items()
        view.console.reload()

    def mark_row(self) -> None:
        """Mark the row under the cursor."""
        view = _me(self)
        if view.level == "items":
            view.items_pane.table.action_mark()

    # --- discard, acknowledge ---------------------------------------------------------------------------

    async def discard_chosen(self) -> str | None:
        """Put dead letters aside; in the list of issues: ignore the issue; in that of rules: revoke the rule."""
        view = _me(self)
        if view.level == "rules":
            return await self.revoke_rule()
        if view.level == "issues":
            return await self._set_issue(IssueState.IGNORED)
        workspace = view.console.workspace
        letters = await self._chosen()
        ids = [item.id for item in letters if item.state in (DeadLetterState.OPEN, DeadLetterState.UNKNOWN)]
        native = [item for item in letters if item.direction == NATIVE and item.id in ids]
        if native:
            return await self._remove_native(native)
        number = await deadletters.discard(workspace, ids)
        if not number:
            raise ConfigError("None of these can be discarded.", hint="Only open and unknown ones can.")

        async def undo() -> str:
            return f"Opened again: {present.plural(await deadletters.reopen(workspace, ids), 'dead letter')}."

        view.console.offer_undo(f"discard of {present.plural(number, 'dead letter')}", undo)
        view.items_pane.table.clear_marks()
        return f"Discarded {present.plural(number, 'dead letter')}; z takes it back."

    async def _remove_native(self, letters: Sequence[DeadLetter]) -> str:
        """Remove dead letters at the platform that keeps them, after asking: it cannot be taken back."""
        view = _me(self)
        workspace = view.console.workspace
        profiles = sorted({item.profile for item in letters})
        environments = [await deadletters.environment_of(workspace, name) for name in profiles]
        production = "production" in environments
        asked = Confirmation(
            f"Remove {present.plural(len(letters), 'dead letter')} at {letters[0].platform}",
            "Remove",
            ("They are removed from the queue that holds them, for good: z does not bring them back.",),
            host=", ".join(sorted({item.stream for item in letters})),
            method="remove from the queue",
            count=len(letters),
            noun="dead letter",
            typed=profiles[0] if production or len(letters) > 1 else "",
        )
        if not await view.console.confirm(asked):
            return "Nothing was removed."
        removed, errors = await deadletters.discard_native(workspace, [item.id for item in letters])
        view.items_pane.table.clear_marks()
        if errors:
            first = next(iter(errors.values()))
            raise PlatintError(f"{removed} of {len(letters)} were removed.", hint=first)
        return f"Removed {present.plural(removed, 'dead letter')} at {letters[0].platform}."

    async def pull_native(self) -> str | None:
        """Look at every broker's own dead-letter queues."""
        workspace = _me(self).console.workspace
        names = await deadletters.holders(workspace)
        if not names:
            raise ConfigError(
                "No profile's platform keeps dead letters of its own.",
                hint="RabbitMQ, Kafka, SQS, Service Bus and Redis do: 2 adds a profile.",
            )
        found = [await deadletters.pull(workspace, name) for name in names]
        new, queues = sum(item.new for item in found), sum(len(item.queues) for item in found)
        errors = [f"{name}: {text}" for item in found for name, text in item.errors.items()]
        said = f"{present.plural(new, 'new dead letter')} in {present.plural(queues, 'queue')} of {', '.join(names)}"
        if errors:
            raise PlatintError(f"{said}; {len(errors)} could not be looked at.", hint=errors[0])
        return f"{said}."

    async def acknowledge(self) -> str | None:
        """Acknowledge the issue, or open it again."""
        issue = await self._issue_now()
        if issue is None:
            return None
        wanted = IssueState.ACKNOWLEDGED if issue.state == IssueState.OPEN else IssueState.OPEN
        return await self._set_issue(wanted)

    async def choose_state(self) -> str | None:
        """Choose what becomes of the issue, or write a note to it."""
        view = _me(self)
        issue = await self._issue_now()
        if issue is None:
            return None
        answer = await view.app.push_screen_wait(
            ChooseScreen(
                "What becomes of this issue?",
                (
                    issue.message,
                    f"It is {issue.state}; {present.count(issue.open)} of {present.count(issue.total)} are open.",
                ),
                (
                    Choice("stay", "escape", "nothing", "It stays as it is."),
                    Choice("acknowledged", "a", "acknowledge", "Somebody looks after it."),
                    Choice("resolved", "r", "resolve", "It is done; it opens again when it comes back."),
                    Choice("day", "d", "ignore a day", "It opens again tomorrow if it goes on."),
                    Choice(
                        "hundred", "h", "ignore 100 more", "It opens again after a hundred more failures."
                    ),
                    Choice("ignored", "i", "ignore", "Until somebody opens it."),
                    Choice("open", "o", "reopen", "It is nobody's."),
                    Choice("note", "n", "write a note", "For whoever looks at it next."),
                ),
            )
        )
        if answer is None or answer == "stay":
            return None
        if answer == "note":
            return await self._write_note(issue)
        now = view.console.clock.now_ms()
        if answer == "day":
            return await self._set_issue(IssueState.IGNORED, until_ms=now + _DAY_MS)
        if answer == "hundred":
            return await self._set_issue(IssueState.IGNORED, until_total=issue.total + 100)
        return await self._set_issue(IssueState(answer))

    async def _write_note(self, issue: Issue) -> str:
        view = _me(self)
        note = await view.console.ask(
            Question(
                "A note to this issue", issue.message, value=issue.note, verb="Keep", check=lambda text: None
            )
        )
        if note is None:
            return "Nothing was changed."
        await deadletters.note_issue(view.console.workspace, issue.fingerprint, note)
        return "The note is kept with the issue."

    def next_bin(self) -> str:
        """Issues of every kind, of records, of systems."""
        view = _me(self)
        view.bin = {"": "record", "record": "systemic", "systemic": ""}[view.bin]
        view.console.reload()
        return {
            "": "Issues of every kind.",
            "record": "Issues whose records are at fault.",
            "systemic": "Issues that fail for every record: the target, a credential, the network.",
        }[view.bin]

    async def _issue_now(self) -> Issue | None:
        """The chosen issue as the store has it: what is on the screen may be a moment old."""
        shown = self.current_issue
        if shown is None:
            return None
        found = await deadletters.issues(_me(self).console.workspace)
        return next((issue for issue in found if issue.fingerprint == shown.fingerprint), None)

    async def _set_issue(
        self, state: IssueState, *, until_ms: int | None = None, until_total: int | None = None
    ) -> str | None:
        view = _me(self)
        issue = await self._issue_now()
        if issue is None:
            return None
        if issue.state == state and until_ms is None and until_total is None:
            return f"This issue is {state} already."
        workspace = view.console.workspace
        await deadletters.set_issue_state(
            workspace, issue.fingerprint, state, until_ms=until_ms, until_total=until_total
        )

        async def undo() -> str:
            await deadletters.set_issue_state(
                workspace,
                issue.fingerprint,
                issue.state,
                until_ms=issue.ignored_until_ms,
                until_total=issue.ignored_until_total,
            )
            return f"The issue is {issue.state} again."

        view.console.offer_undo(f"issue {state}", undo)
        return f"The issue is {state} now; z takes it back."

    # --- copy, save -------------------------------------------------------------------------------------

    async def copy_row(self) -> None:
        """The row as JSON; with its payload when it is open."""
        view = _me(self)
        issue = self.current_issue
        if view.level == "issues" and issue is not None:
            view.console.copy(output.issue_json(issue), "the issue as JSON")
            return
        found = await self._chosen()
        if view.level == "item":
            text = text_of(found[0].payload)[0]
            view.console.copy(output.as_json(found[0], text), "the dead letter as JSON")
        elif found:
            rows = "\n".join(output.as_json(letter) for letter in found)
            view.console.copy(rows, f"{present.plural(len(found), 'dead letter')} as JSON")

    async def copy_curl(self) -> None:
        """The request that failed as a line for a shell."""
        letter = self.one_letter
        if letter is None or not letter.request:
            raise ConfigError("No request was recorded for this dead letter.")
        console = _me(self).console
        line = clean(await export.curl_of(console.workspace, letter), lines=True)
        console.copy(line, "the request as curl, secrets left out")

    async def save_file(self) -> str | None:
        """Everything that is listed, as JSON lines, into a new private file."""
        view = _me(self)
        issue = self.current_issue
        letter = self.one_letter if view.level == "item" else None
        if view.level == "items":
            where = view.items_where
        elif letter is not None:
            where = DeadLetterFilter(fingerprint=letter.fingerprint, key=letter.record_key)
        elif issue is not None:
            where = DeadLetterFilter(fingerprint=issue.fingerprint)
        else:
            return None
        name = f"dead-letters-{where.fingerprint[:8] or 'all'}.jsonl"
        answer = await view.console.ask(
            Question(
                "Save to a file",
                "A new file; one that exists is never written over.",
                value=str(output.chosen_path(name)),
                hint="JSON lines with the exact payloads. Only you can read the file.",
                verb="Save",
            )
        )
        if answer is None:
            return None
        path = output.chosen_path(answer)
        lines = export.letters(view.console.workspace, where, export.Form.JSONL, export.Exported())
        return f"Saved {present.plural(await export.write_new(path, lines), 'dead letter')} to {path}."
