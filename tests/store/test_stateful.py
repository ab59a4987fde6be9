"""Random lives of runs, dead letters and replays against a model of plain dictionaries."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from store.samples import FakeClock, commit, dead_letter, integration

from platint_tui.core.errors import ConfigError, Fenced, PlatintError
from platint_tui.core.model import Run, Trigger
from platint_tui.core.states import RunState
from platint_tui.store.ports import DeadLetterFilter
from platint_tui.store.sqlite import SqliteStore

UNRESOLVED = {"open", "replaying", "unknown"}
KEYS = st.sampled_from(["a", "b", "c", "d"])
CONTENTS = st.sampled_from(["v1", "v2"])
ANY_INDEX = st.integers(0, 10_000)


@dataclass
class Letter:
    """What the model knows of one dead letter."""

    id: str
    key: str
    content: str
    fingerprint: str
    sending_key: str
    parent: str | None
    state: str = "open"
    occurrences: int = 1
    attempts: int = 0
    settled: bool = False
    rank: int = 1
    newer_written: bool = False


@dataclass
class Model:
    """The store as dictionaries."""

    letters: dict[str, Letter] = field(default_factory=dict)
    items: dict[str, dict[str, str]] = field(default_factory=dict)
    was: dict[str, str] = field(default_factory=dict)
    seq: int | None = None
    pages: int = 0
    dead: int = 0

    def settle(self, letter: Letter, state: str) -> None:
        letter.state = state
        if state in {"succeeded", "superseded"}:
            one: Letter | None = letter
            while one is not None:
                one.settled = True
                one = self.letters.get(one.parent) if one.parent else None

    def next_rank(self, key: str) -> int:
        ranks = [item.rank for item in self.letters.values() if item.key == key and not item.settled]
        return max(ranks, default=0) + 1

    def supersede(self, key: str, below: int | None = None) -> None:
        for letter in list(self.letters.values()):
            if letter.key != key or letter.settled or (below is not None and letter.rank >= below):
                continue
            if letter.state in {"open", "unknown"}:
                self.settle(letter, "superseded")
                self.leave(letter.id, "superseded")
            else:
                letter.newer_written = True

    def its_turn(self, job: str, identity: str) -> bool:
        letter, pending = self.letters[identity], self.items[job]
        return not any(
            other.state == "replaying" or (other.rank > letter.rank and pending.get(other.id) == "pending")
            for other in self.letters.values()
            if other is not letter and other.key == letter.key
        )

    def end(self, job: str, identity: str, outcome: str) -> None:
        """What settling or recovering makes of an item that is neither given back nor overtaken, or is."""
        letter = self.letters[identity]
        if letter.newer_written:
            outcome = "unknown" if outcome == "succeeded" else "superseded"
        self.settle(letter, {"failed": "open"}.get(outcome, outcome))
        self.items[job][identity] = outcome
        if outcome == "succeeded":
            self.supersede(letter.key, letter.rank)

    def leave(self, identity: str, outcome: str) -> None:
        for items in self.items.values():
            if items.get(identity) == "pending":
                items[identity] = outcome


class StoreMachine(RuleBasedStateMachine):
    """Rules act on the store and on the model; invariants compare them."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = FakeClock()
        self.model = Model()
        self.run: Run | None = None
        self.store = self.do(self._open())

    def _open(self) -> Any:
        path = Path(self.folder.name) / "data" / "platint.sqlite"
        return SqliteStore.open(path, clock=self.clock, role="engine")

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.do(self.store.close())
        self.loop.close()
        self.folder.cleanup()

    # --- runs

    @precondition(lambda self: self.run is None)
    @rule()
    def start(self) -> None:
        self.do(self.store.runs.create(integration(), (), "manual"))
        self._claim()

    def _claim(self) -> None:
        before = self.run.epoch if self.run is not None else 0
        self.run = self.do(self.store.runs.claim("w1"))
        assert self.run is not None and self.run.epoch > before
        for item in self.run.streams:
            if item.state == RunState.QUEUED:
                self.do(
                    self.store.runs.move_stream(self.run.id, self.run.epoch, item.stream, RunState.RUNNING)
                )

    @precondition(lambda self: self.run is not None)
    @rule()
    def no_second_run(self) -> None:
        try:
            self.do(self.store.runs.create(integration(), (), "manual"))
        except ConfigError as error:
            assert error.code == "already_running"
        else:
            raise AssertionError("two active runs")

    @precondition(lambda self: self.run is not None)
    @rule()
    def crash_and_take_over(self) -> None:
        old = self.run
        assert old is not None
        self.do(self.store.runs.reap([]))
        self._claim()
        try:
            self.do(commit(self.store, old, (self.model.seq or 0) + 1))
        except Fenced:
            pass
        else:
            raise AssertionError("the old engine wrote")

    @precondition(lambda self: self.run is not None)
    @rule(state=st.sampled_from([RunState.SUCCEEDED, RunState.CANCELLED, RunState.FAILED]))
    def finish(self, state: RunState) -> None:
        assert self.run is not None
        if state == RunState.SUCCEEDED:
            for item in self.run.streams:
                self.do(self.store.runs.move_stream(self.run.id, self.run.epoch, item.stream, state))
        self.do(self.store.runs.finish(self.run.id, self.run.epoch, state))
        self.run = None

    @rule()
    def reopen_the_file(self) -> None:
        self.do(self.store.close())
        self.store = self.do(self._open())

    # --- pages

    @precondition(lambda self: self.run is not None)
    @rule(
        failed=st.lists(st.tuples(KEYS, CONTENTS), max_size=3),
        written=st.lists(KEYS, max_size=2, unique=True),
        step=st.integers(0, 2),
    )
    def page(self, failed: list[tuple[str, str]], written: list[str], step: int) -> None:
        model, run = self.model, self.run
        assert run is not None
        letters = [dead_letter(run.id, key, content, fingerprint=f"f-{content}") for key, content in failed]
        seq = (model.seq or 0) + step
        try:
            new = self.do(commit(self.store, run, seq, *letters, keys=tuple(written)))
        except PlatintError as error:
            assert error.code == "seq" and step == 0 and model.seq is not None
            return
        assert step > 0 or model.seq is None
        model.seq, model.pages, model.dead = seq, model.pages + 1, model.dead + len(failed)
        for key in written:
            model.supersede(key)
        made = 0
        for key, content in failed:
            known = [
                item
                for item in model.letters.values()
                if (item.key, item.content, item.parent, item.settled) == (key, content, None, False)
            ]
            if known:
                known[-1].occurrences += 1
                old, rank = known[-1].rank, model.next_rank(key)
                for item in model.letters.values():
                    if (item.key, item.rank, item.settled) == (key, old, False):
                        item.rank, item.newer_written = rank, False
                continue
            made += 1
            number = self._rows()[-len(failed) :]
            stored = next(
                item
                for item in number
                if item.id not in model.letters
                and item.record_key == key
                and item.fingerprint == f"f-{content}"
            )
            model.letters[stored.id] = Letter(
                stored.id,
                key,
                content,
                f"f-{content}",
                stored.idempotency_key,
                None,
                rank=model.next_rank(key),
            )
        assert new == made

    def _rows(self) -> list[Any]:
        numbers = self.do(self.store.dead_letters.numbers(DeadLetterFilter(), newest_first=False))
        return list(self.do(self.store.dead_letters.rows(numbers)))

    # --- the inbox

    def _some(self, index: int) -> Letter:
        return list(self.model.letters.values())[index % len(self.model.letters)]

    @precondition(lambda self: self.model.letters)
    @rule(index=ANY_INDEX)
    def discard(self, index: int) -> None:
        letter = self._some(index)
        allowed = letter.state in {"open", "unknown"}
        assert self.do(self.store.dead_letters.discard([letter.id])) == int(allowed)
        if allowed:
            self.model.settle(letter, "discarded")
            self.model.leave(letter.id, "released")

    @precondition(lambda self: self.model.letters)
    @rule(index=ANY_INDEX)
    def reopen(self, index: int) -> None:
        letter = self._some(index)
        allowed = letter.state == "discarded" and not letter.newer_written
        if letter.parent is not None:
            siblings = [
                item
                for item in self.model.letters.values()
                if item.parent == letter.parent and item is not letter
            ]
            allowed = (
                allowed
                and self.model.letters[letter.parent].state == "edited"
                and all(item.state == "discarded" for item in siblings)
            )
        assert self.do(self.store.dead_letters.reopen([letter.id])) == int(allowed)
        if allowed:
            letter.state = "open"

    @precondition(lambda self: self.model.letters)
    @rule(index=ANY_INDEX, content=st.sampled_from(["v1", "v2", "edited"]))
    def edit(self, index: int, content: str) -> None:
        letter = self._some(index)
        work = self.store.dead_letters.edit(letter.id, content.encode(), letter.key, content)
        try:
            child = self.do(work)
        except PlatintError as error:
            assert error.code == "state" and letter.state != "open"
            return
        assert letter.state == "open" and child.payload == content.encode()
        letter.state = "edited"
        self.model.leave(letter.id, "released")
        assert child.idempotency_key not in {item.sending_key for item in self.model.letters.values()}
        self.model.letters[child.id] = Letter(
            child.id,
            letter.key,
            content,
            letter.fingerprint,
            child.idempotency_key,
            letter.id,
            rank=letter.rank,
        )

    @precondition(lambda self: self.model.letters)
    @rule(index=ANY_INDEX)
    def undo_edit(self, index: int) -> None:
        letter = self._some(index)
        original = self.model.letters.get(letter.parent or "")
        allowed = (
            original is not None
            and letter.attempts == 0
            and letter.state in {"open", "discarded"}
            and original.state == "edited"
            and not (letter.newer_written or original.newer_written)
        )
        if allowed and letter.state == "discarded":
            others = [item for item in self.model.letters.values() if item.parent == letter.parent]
            allowed = all(item.state == "discarded" for item in others)
        try:
            back = self.do(self.store.dead_letters.undo_edit(letter.id))
        except PlatintError as error:
            assert error.code == "state" and not allowed, letter
            return
        assert allowed and original is not None and back.id == original.id
        letter.state, original.state = "discarded", "open"
        self.model.leave(letter.id, "released")

    # --- replays

    @precondition(lambda self: self.model.letters)
    @rule(indexes=st.lists(ANY_INDEX, min_size=1, max_size=4))
    def plan(self, indexes: list[int]) -> None:
        ids = list(dict.fromkeys(self._some(index).id for index in indexes))
        busy = {
            identity
            for items in self.model.items.values()
            for identity, state in items.items()
            if state in {"pending", "sending"}
        }
        expected = [
            item
            for item in ids
            if self.model.letters[item].state in {"open", "unknown"}
            and not self.model.letters[item].newer_written
            and item not in busy
        ]
        job = self.do(self.store.replays.plan(ids, Trigger.BULK))
        assert job.total == len(expected)
        self.model.items[job.id] = dict.fromkeys(expected, "pending")

    @precondition(lambda self: self.model.items)
    @rule(index=ANY_INDEX, count=st.integers(1, 3))
    def claim(self, index: int, count: int) -> None:
        job = list(self.model.items)[index % len(self.model.items)]
        items = self.model.items[job]
        due = [
            item
            for item in self.model.letters
            if items.get(item) == "pending" and self.model.its_turn(job, item)
        ]
        claimed = self.do(self.store.replays.claim(job, "w1", count))
        assert len(claimed) == min(count, len(due)) and {item.id for item in claimed} <= set(due)
        for item in claimed:
            letter = self.model.letters[item.id]
            assert item.idempotency_key == letter.sending_key, "A10"
            self.model.was[item.id] = letter.state
            letter.state = "replaying"
            letter.attempts += 1
            self.model.items[job][item.id] = "sending"

    def _sending(self) -> list[tuple[str, str]]:
        return [
            (job, item)
            for job, items in self.model.items.items()
            for item, state in items.items()
            if state == "sending"
        ]

    @precondition(lambda self: self._sending())
    @rule(
        index=ANY_INDEX,
        outcome=st.sampled_from(["succeeded", "failed", "unknown", "superseded", "released"]),
    )
    def settle(self, index: int, outcome: str) -> None:
        sending = self._sending()
        job, identity = sending[index % len(sending)]
        self.do(self.store.replays.settle(job, identity, outcome))
        letter = self.model.letters[identity]
        if outcome == "released" and not letter.newer_written:
            letter.attempts -= 1
            letter.state = self.model.was[identity]
            self.model.items[job][identity] = "pending"
        else:
            self.model.end(job, identity, outcome)

    @precondition(lambda self: self._sending())
    @rule(index=ANY_INDEX, idempotent=st.booleans())
    def recover(self, index: int, idempotent: bool) -> None:
        sending = self._sending()
        job = sending[index % len(sending)][0]
        lost = [item for owner, item in sending if owner == job]
        assert self.do(self.store.replays.recover(job, ["w2"], idempotent)) == len(lost)
        for identity in lost:
            if idempotent and not self.model.letters[identity].newer_written:
                self.model.letters[identity].state = "open"
                self.model.items[job][identity] = "pending"
            else:
                self.model.end(job, identity, "recovered" if idempotent else "unknown")

    # --- what always holds

    @invariant()
    def letters_agree(self) -> None:
        stored = {
            item.id: (item.state.value, item.occurrences, item.attempts, item.idempotency_key, item.parent)
            for item in self._rows()
        }
        assert stored == {
            item.id: (item.state, item.occurrences, item.attempts, item.sending_key, item.parent)
            for item in self.model.letters.values()
        }

    @invariant()
    def issue_counts_are_right(self) -> None:
        letters = self.model.letters.values()
        opened = Counter(item.fingerprint for item in letters if item.state in UNRESOLVED)
        total = Counter(item.fingerprint for item in letters if item.parent is None)
        issues = {item.fingerprint: item for item in self.do(self.store.dead_letters.issues())}
        assert {name: (item.open, item.total) for name, item in issues.items()} == {
            name: (opened[name], total[name]) for name in total
        }
        assert all((item.state == "resolved") == (item.open == 0) for item in issues.values())

    @invariant()
    def jobs_add_up(self) -> None:
        for job in self.do(self.store.replays.list()):
            states = Counter(self.model.items[job.id].values())
            assert job.total == states.total() and job.pending == states["pending"] + states["sending"]
            for name in ("succeeded", "failed", "unknown", "superseded"):
                assert getattr(job, name) == states[name]
            assert (job.ended_ms is not None) == (job.pending == 0)

    @invariant()
    def progress_agrees(self) -> None:
        runs = self.do(self.store.runs.list())
        assert sum(item.pages for run in runs for item in run.streams) == self.model.pages
        assert sum(item.dead_lettered for run in runs for item in run.streams) == self.model.dead
        state = self.do(self.store.runs.sync_state("billing", "customers"))
        assert (state.seq if state is not None else None) == self.model.seq


StoreMachine.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestStore = StoreMachine.TestCase
