"""Corrections: edits in place or in an editor, and fix rules for all that fail alike; part of the section."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.app import SuspendNotSupported

from platint_tui.core.errors import ConfigError, PlatintError
from platint_tui.core.model import DeadLetter
from platint_tui.core.patch import Patch
from platint_tui.core.replays import AS_USUAL
from platint_tui.core.rules import FixRule
from platint_tui.core.states import DeadLetterState
from platint_tui.services import deadletters, edits, replays, rules
from platint_tui.services.deadletters import DeadLetterFilter, DeadLetterView
from platint_tui.services.edits import EditCheck
from platint_tui.tui import present
from platint_tui.tui.dialogs.choose import Choice, ChooseScreen
from platint_tui.tui.screens.deadletters import output, words
from platint_tui.tui.screens.deadletters.editing import MOST_IN_PLACE, EditScreen, editable
from platint_tui.tui.widgets.payload import text_of

if TYPE_CHECKING:
    from platint_tui.tui.screens.deadletters.section import DeadLettersSection

_STEPS = 8
"""Steps of a correction that the question shows."""


def _me(self: object) -> DeadLettersSection:
    return cast("DeadLettersSection", self)


class Correcting:
    """Edit, keep the edit as a rule, apply and revoke rules."""

    rules: tuple[FixRule, ...] = ()
    """The fix rules in force."""

    async def edit_here(self) -> str | None:
        """Edit in a text area."""
        found = await self._whole()
        if found is None:
            return None
        if found.letter.size > MOST_IN_PLACE:
            raise ConfigError("This payload is too large to edit here.", hint="E opens it in your editor.")
        return await self._review(found.letter, None)

    async def edit_in_editor(self) -> str | None:
        """Edit in $EDITOR; the difference is shown before anything is stored."""
        found = await self._whole()
        if found is None:
            return None
        view = _me(self)
        workspace = view.console.workspace
        original = editable(text_of(found.letter.payload)[0])
        try:
            with view.app.suspend():
                edited = output.edit_outside(original, workspace.paths.state, workspace.environ)
        except SuspendNotSupported:
            raise ConfigError("This terminal cannot be handed to an editor.", hint="Edit with e.") from None
        if edited.rstrip("\n") == original:
            return "Nothing was changed."
        return await self._review(found.letter, edited)

    async def _whole(self) -> DeadLetterView | None:
        letter = _me(self).one_letter
        return await deadletters.show(_me(self).console.workspace, letter.id) if letter else None

    async def _review(self, letter: DeadLetter, edited: str | None) -> str | None:
        view = _me(self)
        workspace = view.console.workspace

        async def check(text: str) -> EditCheck:
            return await edits.check_edit(workspace, letter.id, text)

        title = f"Edit dead letter {letter.number}, {words.key_text(letter.record_key)}"
        screen = EditScreen(title, editable(text_of(letter.payload)[0]), edited, check=check)
        saved = await view.app.push_screen_wait(screen)
        if saved is None:
            return "Nothing was changed."
        child = await edits.edit(workspace, letter.id, saved, force=True)

        async def undo() -> str:
            original = await edits.undo_edit(workspace, child.id)
            if view.level == "item":
                view._open_item(str(original.number))
            return f"The edit was dropped; dead letter {original.number} is open again."

        view.console.offer_undo(f"edit of {letter.number}", undo)
        if view.level == "item":
            view._open_item(str(child.number))
        else:
            view.items_pane.table.reload()
        said = f"Saved as dead letter {child.number}; r replays it, z drops the edit."
        return await self._offer_rule(child, screen.patch) or said

    async def _offer_rule(self, child: DeadLetter, patch: Patch) -> str | None:
        """After an edit: the same correction for all that fail alike. None when nothing came of it."""
        view = _me(self)
        workspace = view.console.workspace
        alike = DeadLetterFilter(fingerprint=child.fingerprint, states=(DeadLetterState.OPEN,))
        others = await deadletters.count(workspace, alike) - 1
        if not patch or others < 1:
            return None
        steps = [f"{index}. {step.words()}" for index, step in enumerate(patch[:_STEPS], 1)]
        if len(patch) > _STEPS:
            steps.append(f"and {len(patch) - _STEPS} more")
        answer = await view.app.push_screen_wait(
            ChooseScreen(
                f"A fix rule for the other {present.plural(others, 'dead letter')} of this issue?",
                ("Your edit, as steps:", *steps),
                (
                    Choice("no", "escape", "only this one", "Nothing else changes."),
                    Choice("keep", "k", "keep the rule", "Offered when the issue comes back; f lists it."),
                    Choice("try", "t", "simulate it", "On the others, without changing any."),
                    Choice(
                        "apply", "f", "keep and apply", "Each of the others gets an edit; nothing is sent."
                    ),
                ),
            )
        )
        if answer not in ("keep", "try", "apply"):
            return None
        rule = await rules.rule_from_edit(workspace, child.id)
        if answer == "keep":
            return f"Fix rule {rule.number} is kept; f lists it."
        if answer == "apply" or await self._try_rule(rule) == "replay":
            return await self._apply(rule)
        return f"Fix rule {rule.number} is kept; f lists it, and applies it."

    # --- rules ------------------------------------------------------------------------------------------

    @property
    def current_rule(self) -> FixRule | None:
        """The rule under the cursor of the list of rules."""
        view = _me(self)
        return view.rules_pane.listing.current if view.level == "rules" else None

    def offered(self, fingerprint: str) -> FixRule | None:
        """The newest rule in force for an issue."""
        return next((rule for rule in self.rules if rule.fingerprint == fingerprint), None)

    def show_rules(self) -> None:
        """The list of fix rules, or back from it; the cursor is on the rule of the issue."""
        view = _me(self)
        if view.level == "rules":
            view.go_back()
            return
        issue = view.current_issue
        view.open_rules(self.offered(issue.fingerprint) if issue is not None else None)

    async def simulate_rule(self) -> str | None:
        """What the rule would make of the open ones of its issue, and whether they would pass then."""
        rule = self.current_rule
        if rule is None:
            return None
        return await self._apply(rule) if await self._try_rule(rule) == "replay" else None

    async def _try_rule(self, rule: FixRule) -> str | None:
        what = replays.of_fingerprint(rule.fingerprint)
        return await _me(self)._foresee(what, f"fix rule {rule.number}", AS_USUAL, onward=True, rule=rule.id)

    async def apply_rule(self) -> str | None:
        """Edit the open ones by the rule, then plan their replay."""
        rule = self.current_rule
        return await self._apply(rule) if rule is not None else None

    async def _apply(self, rule: FixRule) -> str:
        view = _me(self)
        workspace = view.console.workspace
        done = await rules.apply_rule(workspace, rule.id)
        parts = [f"Fix rule {rule.number} edited {present.plural(done.edited, 'dead letter')}"]
        if done.unchanged:
            parts.append(f"{present.count(done.unchanged)} were as it wants them")
        if done.misfits:
            why = next(iter(done.reasons.values()), "")
            parts.append(f"it does not fit {present.count(done.misfits)} ({why})")
        said = f"{'; '.join(parts)}."
        what = await rules.edits_of(workspace, rule.id)
        if not what.ids:
            if not done.edited:
                raise PlatintError(said)
            return said
        view.console.report(said)
        return await view._replay_many(what, f"{present.plural(len(what.ids), 'edit')} of rule {rule.number}")

    async def revoke_rule(self) -> str | None:
        """Offer and apply the rule no more; its edits stay."""
        rule = self.current_rule
        if rule is None:
            return None
        workspace = _me(self).console.workspace
        await rules.revoke_rule(workspace, rule.id)

        async def undo() -> str:
            again = await rules.add_rule(
                workspace, rule.fingerprint, rule.patch, note=rule.note, made_from=rule.made_from
            )
            return f"The rule is in force again, as number {again.number}."

        _me(self).console.offer_undo(f"end of fix rule {rule.number}", undo)
        return f"Fix rule {rule.number} is revoked; the edits that it made stay."
