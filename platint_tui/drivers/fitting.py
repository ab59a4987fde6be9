"""A batch under the contract of its stream: what has to change at the table before its rows can be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from platint_tui.core.errors import ConfigError, RecordError
from platint_tui.core.jsontext import canonical_key
from platint_tui.core.model import Evolution, Fault, Op, Row, TargetPlan
from platint_tui.core.text import clean
from platint_tui.drivers.shapes import Shape, contract_error
from platint_tui.drivers.tablerows import Encoded, Misfit, encode_rows, kind_of_value
from platint_tui.drivers.tables import record_fault

Cells = Mapping[Op, Callable[[Row], list[Any]]]
"""What makes the tuple of a row, for each operation."""


@dataclass(frozen=True, slots=True)
class Need:
    """Keys of records that want a column, and values that want another type of theirs: see `plan_shape`."""

    keys: tuple[str, ...] = ()
    misfits: tuple[Misfit, ...] = ()


class Fitting:
    """Takes a batch and a table to each other: ask `need`, change the table, and ask again until nothing is
    needed; then `encoded` is what can be written.
    """

    def __init__(self, plan: TargetPlan, rows: Sequence[Row]) -> None:
        self.encoded = Encoded()
        self._plan = plan
        self._rows = rows
        self._refused: dict[int, Fault] | None = None
        self._tried: Mapping[str, str] | None = None

    def need(self, shape: Shape, cells: Cells) -> Need | None:
        """What the table still needs. Raises ConfigError (code `contract`) for what the contract freezes."""
        plan = self._plan
        if self._refused is None:
            _check_key(plan, shape, self._rows)
            keys, self._refused = admit_keys(plan, self._rows, shape)
            if keys:
                return Need(keys=keys)
        refused = self._refused
        self.encoded = encode_rows(
            ((at, row) for at, row in enumerate(self._rows) if at not in refused), cells
        )
        misfits = self.encoded.misfits
        if misfits and plan.contract.types is Evolution.FREEZE:
            raise _frozen(plan, misfits[0], shape.types[misfits[0].column.name])
        # What no type holds stays refused when the table was changed as far as possible.
        if misfits and plan.contract.types is Evolution.EVOLVE and self._tried != shape.types:
            self._tried = shape.types
            return Need(misfits=tuple(misfits))
        self.encoded.faults.extend(refused.items())
        return None


def _check_key(plan: TargetPlan, shape: Shape, rows: Sequence[Row]) -> None:
    """Raise ConfigError when the values under the key's names are not the key: a mapping has put others there.

    One row tells, since the mapping of all of them is the same.
    """
    row = next((row for row in rows if row.op is Op.UPSERT), None)
    if row is None or not shape.mirror:
        return
    try:
        same = canonical_key(row.value.get(name) for name in plan.key) == row.key
    except RecordError:
        return  # a row without a key is a fault of its own
    if not same:
        raise ConfigError(
            f"The mapping of '{clean(plan.stream)}' gives the key's columns other values than the key.",
            where=clean(plan.target),
            hint=f"Leave {clean(', '.join(plan.key))} under the same name in the mapping.",
            code="target_key",
        )


def admit_keys(
    plan: TargetPlan, rows: Sequence[Row], shape: Shape
) -> tuple[tuple[str, ...], dict[int, Fault]]:
    """Keys of a batch that want a column, and the rows that are refused for theirs.

    Raises ConfigError (code `contract`) for a new key that the contract freezes.
    """
    fresh: dict[str, Any] = {}
    refused: dict[int, Fault] = {}
    refuses = plan.contract.columns is Evolution.DEAD_LETTER and bool(shape.columns)
    for at, row in enumerate(rows):
        if row.op is not Op.UPSERT or shape.seen.issuperset(row.value):
            continue
        for key, value in row.value.items():
            if key in shape.seen:
                continue
            if refuses:
                refused[at] = _new_column(plan, key)
                break
            fresh.setdefault(key, value)
    if fresh and shape.columns and plan.contract.columns is Evolution.FREEZE:
        key, value = next(iter(fresh.items()))
        what = f"'{clean(plan.target)}' has no column for '{clean(key)}', and a record brings {kind_of_value(value)}"
        raise contract_error(plan, "columns", what, key)
    return tuple(fresh), refused


def _new_column(plan: TargetPlan, key: str) -> Fault:
    return record_fault(
        "new_column",
        f"The table '{clean(plan.target)}' has no column for the field '{clean(key)}', and the contract of the"
        " stream does not add one.",
        key,
        "Add it with `contract: {columns: evolve}`, or remove the field and replay the record.",
    )


def _frozen(plan: TargetPlan, misfit: Misfit, kind: str) -> ConfigError:
    what = f"the column '{clean(misfit.column.name)}' is {kind}, and a record has {kind_of_value(misfit.value)} there"
    return contract_error(plan, "types", what, misfit.column.name)
