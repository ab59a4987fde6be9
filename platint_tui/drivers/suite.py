"""One behaviour suite that every driver passes, for those of this program and for those from outside.

A test module makes a `Kit` for its platform and a class of its own:

    class TestOurs(ReadSuite, WriteSuite):
        @pytest.fixture
        def kit(self, server) -> Kit: ...

The suite needs pytest and pytest-asyncio (mode auto). It talks to the driver only through the protocols of
`core.ports`, and to the platform only through the kit.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from platint_tui.core.errors import ConfigError, CredentialError, ErrorClass, PlatintError, TransientError
from platint_tui.core.jsontext import canonical_key, dumps
from platint_tui.core.model import (
    Batch,
    Field,
    JsonObject,
    Op,
    Page,
    ReadOptions,
    Record,
    Row,
    TargetPlan,
)
from platint_tui.core.ports import Acknowledging, AppliesOps, Driver, Following, Target

PATIENCE = 60.0
"""Seconds after which something that should have come counts as missing."""


@dataclass
class Kit:
    """What the suite needs to know of one platform. Leave out what the platform does not have.

    `driver` makes a driver that may sign in, `refused` one that may not. `put` makes the source hold that many
    further records and returns their keys (values of the key fields, as texts), `stream` names it and `options`
    say how it is read. `target` is written to, `row` makes the value of a row from a number, `bad` one that the
    target must refuse, and `held` says what the target holds: values by the text of the key. `crash` kills the
    server with -9 and starts it again on the same data.
    """

    driver: Callable[[], Driver]
    refused: Callable[[], Driver] | None = None
    stream: str = ""
    options: ReadOptions = field(default_factory=lambda: ReadOptions(sync="suite"))
    key: tuple[str, ...] = ("id",)
    put: Callable[[int], Awaitable[Sequence[str]]] | None = None
    missing: str = "no_such_stream"
    consumes: bool = False
    """Reading takes records away (queues): what was acknowledged does not come again."""
    target: str = ""
    row: Callable[[int], dict[str, Any]] = lambda number: {"id": number, "name": f"row {number}"}
    fields: tuple[Field, ...] = ()
    bad: Callable[[int], dict[str, Any]] | None = None
    held: Callable[[], Awaitable[Mapping[str, Any]]] | None = None
    crash: Callable[[], Awaitable[None]] | None = None

    def key_of(self, record: Record) -> str:
        """The key of a record as one text."""
        return ",".join(str(record.value[name]) for name in self.key)


@contextlib.asynccontextmanager
async def opened(make: Callable[[], Driver]) -> AsyncIterator[Driver]:
    """A driver that is closed in the end."""
    driver = make()
    try:
        yield driver
    finally:
        await driver.close()


async def pages_of(
    driver: Driver, kit: Kit, position: JsonObject | None, *, acknowledge: bool, options: ReadOptions
) -> list[Page]:
    """The pages of one scan, each acknowledged after it came when that is wanted."""
    found: list[Page] = []
    async with asyncio.timeout(PATIENCE):
        pages = driver.read(kit.stream, position, options)
        async with contextlib.aclosing(pages):  # type: ignore[type-var]  # drivers give generators
            async for page in pages:
                found.append(page)
                if acknowledge and isinstance(driver, Acknowledging):
                    await driver.acknowledge(kit.stream, page.position)
                if page.last:
                    break
    assert found and found[-1].last, "a scan ends with a last page"
    return found


def keys_of(kit: Kit, pages: Sequence[Page]) -> list[str]:
    """Keys of all records that are there in the end."""
    return [kit.key_of(item) for page in pages for item in page.records if item.op is Op.UPSERT]


class CheckSuite:
    """Signing in."""

    async def test_every_needed_probe_passes(self, kit: Kit) -> None:
        async with opened(kit.driver) as driver:
            capabilities = await driver.check()
        assert capabilities and [item for item in capabilities if not (item.ok or item.optional)] == []

    async def test_a_refused_sign_in_is_told_as_one(self, kit: Kit) -> None:
        if kit.refused is None:
            pytest.skip("this platform asks for no credential")
        async with opened(kit.refused) as driver:
            failed = [item for item in await driver.check() if not (item.ok or item.optional)]
            assert failed and failed[0].error_class == ErrorClass.AUTH, failed
            with pytest.raises(CredentialError) as caught:
                await driver.discover()
        assert caught.value.hint


class ReadSuite(CheckSuite):
    """Reading: whole, resumed at every page, cancelled, followed, through a crash of the server."""

    async def test_the_stream_is_discovered(self, kit: Kit) -> None:
        assert kit.put is not None
        await kit.put(3)
        async with opened(kit.driver) as driver:
            found = {item.name: item for item in await driver.discover()}
        stream = found[kit.stream]
        assert stream.readable and stream.kind and stream.modes and not stream.refused
        assert stream.key == kit.key or kit.options.key

    async def test_everything_is_read_once(self, kit: Kit) -> None:
        assert kit.put is not None
        wanted = await kit.put(250)
        async with opened(kit.driver) as driver:
            pages = await pages_of(driver, kit, None, acknowledge=True, options=kit.options)
        found = keys_of(kit, pages)
        assert set(wanted) <= set(found) and len(found) == len(set(found))

    async def test_what_came_later_is_read_later(self, kit: Kit) -> None:
        assert kit.put is not None
        await kit.put(5)
        async with opened(kit.driver) as driver:
            first = await pages_of(driver, kit, None, acknowledge=True, options=kit.options)
            wanted = await kit.put(7)
            later = await pages_of(driver, kit, first[-1].position, acknowledge=True, options=kit.options)
        assert set(wanted) <= set(keys_of(kit, later))

    async def test_resumed_at_every_page_nothing_is_missing(self, kit: Kit) -> None:
        assert kit.put is not None
        wanted = set(await kit.put(40))
        async with opened(kit.driver) as driver:
            whole = await pages_of(driver, kit, None, acknowledge=False, options=kit.options)
        seen: set[str] = set()
        for page in whole[:-1]:
            seen |= set(keys_of(kit, [page]))
            async with opened(kit.driver) as driver:
                rest = await pages_of(driver, kit, page.position, acknowledge=False, options=kit.options)
            assert wanted <= seen | set(keys_of(kit, rest))

    async def test_what_was_not_acknowledged_comes_again(self, kit: Kit) -> None:
        assert kit.put is not None
        wanted = set(await kit.put(20))
        for _ in range(2):
            async with opened(kit.driver) as driver:
                pages = await pages_of(driver, kit, None, acknowledge=False, options=kit.options)
            assert wanted <= set(keys_of(kit, pages))

    async def test_a_look_takes_nothing(self, kit: Kit) -> None:
        assert kit.put is not None
        wanted = set(await kit.put(10))
        async with opened(kit.driver) as driver:
            pages = driver.read(kit.stream, None, replace(kit.options, peek=True))
            async with contextlib.aclosing(pages), asyncio.timeout(PATIENCE):  # type: ignore[type-var]
                async for page in pages:
                    if page.records or page.last:
                        break
        async with opened(kit.driver) as driver:
            found = await pages_of(driver, kit, None, acknowledge=True, options=kit.options)
        assert wanted <= set(keys_of(kit, found))

    async def test_stopped_at_any_moment_it_leaves_nothing_behind(self, kit: Kit) -> None:
        assert kit.put is not None
        wanted = set(await kit.put(30))
        before = len(asyncio.all_tasks())
        async with opened(kit.driver) as driver:
            pages = driver.read(kit.stream, None, kit.options)
            async with contextlib.aclosing(pages), asyncio.timeout(PATIENCE):  # type: ignore[type-var]
                await anext(aiter(pages))
            again = await pages_of(driver, kit, None, acknowledge=True, options=kit.options)
        assert wanted <= set(keys_of(kit, again))
        async with asyncio.timeout(PATIENCE):
            while len(asyncio.all_tasks()) > before:  # noqa: ASYNC110 - tasks tell nobody when they end
                await asyncio.sleep(0.01)

    async def test_a_stream_that_is_not_there_is_a_typed_error(self, kit: Kit) -> None:
        async with opened(kit.driver) as driver:
            with pytest.raises(PlatintError) as caught:
                await pages_of(
                    driver, replace(kit, stream=kit.missing), None, acknowledge=False, options=kit.options
                )
        assert isinstance(caught.value, ConfigError) or caught.value.error_class == ErrorClass.CONFIG
        assert kit.missing in caught.value.sentence()

    async def test_followed_it_gives_what_comes(self, kit: Kit) -> None:
        async with opened(kit.driver) as driver:
            follow = replace(kit.options, follow=True)
            if not isinstance(driver, Following) or not driver.follows(kit.stream, follow):
                pytest.skip("this stream is asked again and again instead")
            assert kit.put is not None
            wanted = set(await kit.put(3))
            seen: set[str] = set()
            more = False
            pages = driver.read(kit.stream, None, follow)
            async with contextlib.aclosing(pages), asyncio.timeout(PATIENCE):  # type: ignore[type-var]
                async for page in pages:
                    assert not page.last, "a followed stream has no last page"
                    seen |= set(keys_of(kit, [page]))
                    if isinstance(driver, Acknowledging):
                        await driver.acknowledge(kit.stream, page.position)
                    if wanted <= seen and not more:
                        more = True
                        wanted |= set(await kit.put(3))
                    if wanted <= seen:
                        break

    async def test_a_crash_of_the_server_loses_nothing(self, kit: Kit) -> None:
        if kit.crash is None:
            pytest.skip("the server of this test cannot be started again with its data")
        assert kit.put is not None
        wanted = set(await kit.put(200))
        position: JsonObject | None = None
        seen: set[str] = set()
        crashed = False
        async with opened(kit.driver) as driver, asyncio.timeout(PATIENCE):
            while not (crashed and wanted <= seen):
                try:
                    pages = driver.read(kit.stream, position, kit.options)
                    async with contextlib.aclosing(pages):  # type: ignore[type-var]
                        async for page in pages:
                            seen |= set(keys_of(kit, [page]))
                            if not crashed:
                                crashed = True
                                await kit.crash()
                            if isinstance(driver, Acknowledging):
                                await driver.acknowledge(kit.stream, page.position)
                            position = page.position
                except TransientError:
                    await asyncio.sleep(0.05)


class WriteSuite(CheckSuite):
    """Writing: rows, repeats, deletes, one bad row among good ones, through a crash of the server."""

    def plan(self, kit: Kit, **changes: Any) -> TargetPlan:
        """What the target is told."""
        base: dict[str, Any] = {
            "sync": "suite",
            "stream": "rows",
            "target": kit.target,
            "key": kit.key,
            "cursor": None,
            "fields": kit.fields,
            "epoch": 1,
            "run": "run_suite",
        }
        return TargetPlan(**{**base, **changes})

    def rows(self, kit: Kit, values: Sequence[dict[str, Any]], op: Op = Op.UPSERT) -> list[Row]:
        """Rows of these values."""
        made = []
        for value in values:
            key = canonical_key([value[name] for name in kit.key])
            made.append(Row(key, dumps(value), value, None, f"suite-{key}-{dumps(value)}", op))
        return made

    async def written(self, kit: Kit) -> Mapping[str, Any]:
        """What the target holds."""
        assert kit.held is not None
        return await kit.held()

    def key_text(self, kit: Kit, value: Mapping[str, Any]) -> str:
        """The key of a value as `Kit.held` names it."""
        return ",".join(str(value[name]) for name in kit.key)

    async def test_rows_are_written(self, kit: Kit) -> None:
        values = [kit.row(number) for number in range(100, 130)]
        async with opened(kit.driver) as driver, opened_target(driver, self.plan(kit)) as target:
            result = await target.write(Batch(self.rows(kit, values), None))
        assert (result.written, list(result.faults)) == (30, [])
        held = await self.written(kit)
        assert {self.key_text(kit, value) for value in values} <= set(held)

    async def test_a_bad_row_is_found_and_the_good_ones_are_written(self, kit: Kit) -> None:
        if kit.bad is None:
            pytest.skip("this target refuses no row by itself")
        values = [kit.row(number) for number in range(200, 220)]
        values[7] = kit.bad(207)
        async with opened(kit.driver) as driver, opened_target(driver, self.plan(kit)) as target:
            result = await target.write(Batch(self.rows(kit, values), None))
        assert result.written == 19 and [index for index, _ in result.faults] == [7]
        fault = result.faults[0][1]
        assert fault.error_class == ErrorClass.RECORD and fault.message and fault.code
        held = await self.written(kit)
        assert self.key_text(kit, values[6]) in held and self.key_text(kit, values[7]) not in held

    async def test_deletes_are_carried_out(self, kit: Kit) -> None:
        values = [kit.row(number) for number in range(300, 304)]
        async with opened(kit.driver) as driver, opened_target(driver, self.plan(kit)) as target:
            if not isinstance(target, AppliesOps) or Op.DELETE not in target.applies:
                pytest.skip("this target deletes nothing")
            await target.write(Batch(self.rows(kit, values), None))
            gone = [{name: values[1][name] for name in kit.key}]
            result = await target.write(Batch(self.rows(kit, gone, Op.DELETE), None))
        assert (result.written + result.superseded, list(result.faults)) == (1, [])
        held = await self.written(kit)
        assert self.key_text(kit, values[0]) in held and self.key_text(kit, values[1]) not in held

    async def test_after_a_crash_of_the_server_writing_goes_on(self, kit: Kit) -> None:
        if kit.crash is None:
            pytest.skip("the server of this test cannot be started again with its data")
        values = [kit.row(number) for number in range(400, 420)]
        first, second = values[:10], values[10:]
        async with opened(kit.driver) as driver:
            async with opened_target(driver, self.plan(kit)) as target:
                await target.write(Batch(self.rows(kit, first), None))
                await kit.crash()
                with contextlib.suppress(TransientError):
                    await target.write(Batch(self.rows(kit, second), None))
            async with opened_target(driver, self.plan(kit)) as target:
                result = await target.write(Batch(self.rows(kit, second), None))
        assert result.written + result.superseded == 10
        held = await self.written(kit)
        assert {self.key_text(kit, value) for value in values} <= set(held)


@contextlib.asynccontextmanager
async def opened_target(driver: Driver, plan: TargetPlan) -> AsyncIterator[Target]:
    """A target that is closed in the end."""
    target = await driver.open_target(plan)
    try:
        yield target
    finally:
        await target.close()
