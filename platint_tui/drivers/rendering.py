"""What would be written for a row, without writing it: for tables, which check the declared types themselves."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

from platint_tui.core.errors import RecordError
from platint_tui.core.model import Evolution, Field, JsonObject, Op, Row, TargetPlan
from platint_tui.drivers.tablerows import RowEncoder, accepted_cells
from platint_tui.drivers.tables import FIELD_TYPES, Cell, Column, Refusal

_STORED: dict[type, Cell | None] = dict.fromkeys((str, bool, int, float, Decimal, dict, list))


def render_table_row(plan: TargetPlan, row: Row) -> JsonObject:
    """The statement for a row in words and the values of its columns; nobody is asked.

    Raises RecordError naming the field when a value is not of its declared type, as the table itself would refuse
    it. What the table looks like by now (other types of its columns) is not known here.
    """
    if row.op is Op.TRUNCATE:
        return {"statement": "truncate", "table": plan.target}
    if row.op is Op.DELETE:
        return {"statement": "delete", "table": plan.target, "key": row.key}
    try:
        _encoder(plan.fields, plan.contract.types).values(row.value)
    except Refusal as refusal:
        fault = refusal.fault
        raise RecordError(fault.message, code=fault.code, hint=fault.hint, where=fault.field) from None
    return {"statement": "upsert", "table": plan.target, "key": row.key, "values": row.value}


@lru_cache(maxsize=64)
def _encoder(fields: tuple[Field, ...], types: Evolution) -> RowEncoder:
    columns = [
        Column(
            item.name,
            item.name,
            item.type if item.type in FIELD_TYPES else "any",
            item.required,
            item.max_length if not item.native else None,
            item.native,
        )
        for item in fields
    ]
    return RowEncoder(columns, [accepted_cells(column, _STORED, types) for column in columns], types)
