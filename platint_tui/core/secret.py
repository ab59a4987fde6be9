"""A secret value that does not show itself."""

from __future__ import annotations

from platint_tui.core.redaction import REDACTOR


class Secret:
    """Wraps a secret so that printing, formatting or logging it shows a mask.

    Making one registers the value with the redactor, the last net for text that leaves the program.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        REDACTOR.add(value)

    def reveal(self) -> str:
        """The value itself, for the one place that sends it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(•••)"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)
