"""The headers of an answer: looked up by name whatever its case, equal names joined as RFC 9110 says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping


class Headers(Mapping[str, str]):
    """Made of the names and values as they came, as bytes or as texts. httpx's own class, which can be changed and
    looks through everything at each look, costs ten times as much."""

    __slots__ = ("_pairs", "_values")

    def __init__(self, fields: Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]] = ()) -> None:
        self._pairs: list[tuple[str, str]] = []
        self._values: dict[str, str] = {}
        values = self._values
        for name, value in fields.items() if isinstance(fields, Mapping) else fields:
            key = (name if isinstance(name, str) else name.decode("latin-1")).lower()
            text = value if isinstance(value, str) else _text(value)
            self._pairs.append((key, text))
            values[key] = text if key not in values else f"{values[key]}, {text}"

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def get_list(self, name: str) -> list[str]:
        """Every value of a header that may come several times (Set-Cookie), as they came."""
        return [value for known, value in self._pairs if known == name.lower()]


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("iso-8859-1")
