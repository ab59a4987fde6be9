"""Fix rules: an edit kept as a small patch for the dead letters that fail alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from platint_tui.core.errors import ConfigError, PlatintError
from platint_tui.core.jsontext import content_hash, loads
from platint_tui.core.model import NATIVE, DeadLetter
from platint_tui.core.patch import Patch, derive, same
from platint_tui.core.rules import FixRule, RuleEdit
from platint_tui.core.states import DeadLetterState
from platint_tui.services.deadletters import show
from platint_tui.services.edits import key_fields, patched, record_key_of
from platint_tui.services.engine import refuse_read_only
from platint_tui.services.replays import Selection
from platint_tui.services.workspace import Workspace
from platint_tui.store.ports import DeadLetterFilter

_AT_ONCE = 200


async def add_rule(
    workspace: Workspace, fingerprint: str, patch: Patch, *, note: str = "", made_from: str | None = None
) -> FixRule:
    """Keep a patch for every dead letter of a fingerprint. Nothing is changed by that. Raises ConfigError."""
    refuse_read_only(workspace, "add a fix rule")
    if not patch:
        raise ConfigError("A fix rule needs at least one step.", hint="set, rename, cast, drop or default.")
    return await workspace.store.rules.add(
        fingerprint, patch, note=note, made_from=made_from, operator=workspace.actor
    )


async def rule_from_edit(workspace: Workspace, child: str, *, note: str = "") -> FixRule:
    """Keep what an edit did as a rule for its fingerprint. Raises NotFound, ConfigError when it is no edit of an
    object."""
    edit = (await show(workspace, child)).letter
    patch = await patch_of_edit(workspace, edit)
    return await add_rule(workspace, edit.fingerprint, patch, note=note, made_from=edit.id)


async def patch_of_edit(workspace: Workspace, edit: DeadLetter) -> Patch:
    """The steps that make an edit of its original. Raises ConfigError when it is no edit of an object."""
    if edit.parent is None:
        raise ConfigError(
            f"Dead letter {edit.number} is no edit.", hint="Edit one first: `platint-tui dead edit`."
        )
    original = (await show(workspace, edit.parent)).letter
    try:
        before, after = loads(original.payload), loads(edit.payload)
    except PlatintError:
        before = after = None
    if not isinstance(before, dict) or not isinstance(after, dict):
        raise ConfigError(f"Dead letter {edit.number} is no edit of a JSON object, so there are no steps.")
    return derive(before, after)


async def list_rules(workspace: Workspace, fingerprint: str = "", *, revoked: bool = False) -> list[FixRule]:
    """Rules, newest first; those that were revoked too where asked for."""
    return list(await workspace.store.rules.list(fingerprint, revoked=revoked))


async def offered_rules(workspace: Workspace, fingerprint: str) -> list[FixRule]:
    """The rules in force for a fingerprint: what to offer when it comes back. None is applied by itself."""
    return await list_rules(workspace, fingerprint)


async def revoke_rule(workspace: Workspace, rule: str) -> FixRule:
    """Offer and apply a rule no more; the edits that it made stay. Raises NotFound."""
    refuse_read_only(workspace, "revoke a fix rule")
    return await workspace.store.rules.revoke(rule)


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying a rule did: so many edits; dead letters that it does not change, and the sentences of those
    that it does not fit, by number (some of them)."""

    rule: FixRule
    edited: int
    unchanged: int
    misfits: int
    reasons: dict[int, str]


async def apply_rule(workspace: Workspace, rule: str, ids: Sequence[str] | None = None) -> Applied:
    """Edit dead letters by a rule, each as by hand: the original stays, a child holds the edit under a key of its
    own and names the rule. Nothing is sent.

    Without `ids` these are the open dead letters of the rule's fingerprint that are no edits. Raises NotFound,
    ConfigError when the rule was revoked, or when one of `ids` failed in another way: nothing is edited then.
    """
    refuse_read_only(workspace, "apply a fix rule")
    found = await workspace.store.rules.get(rule)
    if found.revoked_ms is not None:
        raise ConfigError(f"Fix rule {found.number} was revoked.", hint="Add it anew to use it.")
    wanted = await _alike(workspace, found) if ids is None else list(ids)
    if ids is not None:
        await _refuse_others(workspace, found, wanted)
    edited, unchanged, misfits, reasons = 0, 0, 0, dict[int, str]()
    keys: dict[tuple[str, str], tuple[str, ...] | None] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        edits: list[RuleEdit] = []
        for letter in await workspace.store.replays.whole(wanted[start : start + _AT_ONCE]):
            if letter.state != DeadLetterState.OPEN or letter.direction == NATIVE:
                continue
            if letter.parent is not None and ids is None:
                continue
            try:
                value = loads(letter.payload)
                text = patched(letter.payload, found.patch)
                after = loads(text)
                if same(value, after):
                    unchanged += 1
                    continue
                place = (letter.integration, letter.stream)
                if place not in keys:
                    keys[place] = await key_fields(workspace, letter)
                key = record_key_of(letter, keys[place], after, text)
            except PlatintError as error:
                misfits += 1
                if len(reasons) < 20:
                    reasons[letter.number] = error.sentence()
                continue
            edits.append(RuleEdit(letter.id, text.encode(), key, content_hash(text)))
        edited += await workspace.store.rules.edit_all(found.id, edits)
    return Applied(found, edited, unchanged, misfits, reasons)


async def _alike(workspace: Workspace, rule: FixRule) -> list[str]:
    alike = DeadLetterFilter(fingerprint=rule.fingerprint, states=(DeadLetterState.OPEN,))
    numbers = await workspace.store.dead_letters.numbers(alike, newest_first=False)
    return list(await workspace.store.replays.ids(numbers))


async def _refuse_others(workspace: Workspace, rule: FixRule, ids: Sequence[str]) -> None:
    """A correction of one fault says nothing about records that have another one."""
    for start in range(0, len(ids), _AT_ONCE):
        for letter in await workspace.store.replays.whole(ids[start : start + _AT_ONCE]):
            if letter.fingerprint != rule.fingerprint:
                raise ConfigError(
                    f"Dead letter {letter.number} failed in another way than those that fix rule {rule.number} is for.",
                    hint="Edit it by hand, or keep a rule for its fingerprint. Nothing was changed.",
                )


async def edits_of(workspace: Workspace, rule: str) -> Selection:
    """The open edits that a rule made: what to send after it was applied."""
    return Selection(ids=tuple(await workspace.store.rules.open_edits(rule)))
