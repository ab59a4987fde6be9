"""Reading in the order of some columns: every chunk begins behind the last row of the one before.

Values are compared and put in order by the database alone, with the type and collation of their columns; a
position keeps them as the text that PostgreSQL wrote. Nulls come last, as an ascending order has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from platint_tui.drivers.postgresql.catalog import Column
from platint_tui.drivers.postgresql.rows import Texts
from platint_tui.drivers.tables import quoted


def literal(text: str | None, native: str) -> str:
    """A value of a type as SQL; `standard_conforming_strings` is on in our sessions."""
    if text is None:
        return f"NULL::{native}"
    quotes = text.replace("'", "''")
    return f"'{quotes}'::{native}"


@dataclass(frozen=True, slots=True)
class Keyset:
    """The columns of an order. `unique`: no two rows are alike in all of them."""

    columns: tuple[Column, ...]
    unique: bool

    @property
    def names(self) -> str:
        """The columns, listed."""
        return ", ".join(quoted(column.name) for column in self.columns)

    @property
    def solid(self) -> bool:
        """Whether none of the columns can be null, so that rows compare as wholes (and by the index)."""
        return all(column.required for column in self.columns)

    def after(self, values: Texts) -> str:
        """A condition for the rows behind the one with these values."""
        literals = [literal(text, column.native) for text, column in zip(values, self.columns, strict=True)]
        if self.solid:
            return f"({self.names}) > ({', '.join(literals)})"
        alternatives = []
        for at, column in enumerate(self.columns):
            text = values[at]
            if text is None:
                continue  # nothing comes behind a null
            name = quoted(column.name)
            greater = f"({name} > {literals[at]} OR {name} IS NULL)"
            alternatives.append(" AND ".join([*self._same(literals[:at]), greater]))
        return "(" + " OR ".join(f"({item})" for item in alternatives) + ")" if alternatives else "false"

    def up_to(self, values: Texts) -> str:
        """A condition for the rows up to and with the one with these values."""
        if self.solid:
            literals = [
                literal(text, column.native) for text, column in zip(values, self.columns, strict=True)
            ]
            return f"({self.names}) <= ({', '.join(literals)})"
        return f"NOT {self.after(values)}"

    def _same(self, literals: Sequence[str]) -> list[str]:
        return [
            f"{quoted(column.name)} IS NOT DISTINCT FROM {text}"
            for column, text in zip(self.columns, literals, strict=False)
        ]

    def limit(self, rows: int) -> str:
        """The order and the bound; rows that are alike in an order that is not unique stay together."""
        bound = f"LIMIT {rows}" if self.unique else f"FETCH FIRST {rows} ROWS WITH TIES"
        return f"ORDER BY {self.names} {bound}"
