"""The records of the demo payments platform, computed on the fly.

Record `n` (from 0) is a function of the seed, the stream and `n` alone: any number of them costs no memory,
a page is found by arithmetic, and two servers with one seed serve the same bytes. `updated_at` grows with `n`
(two neighbours share a value), so a filter by time is arithmetic as well.

Faults that real platforms have are spread evenly, per 200 records with an offset that depends on the seed:

* customers: one without `email`, one whose `balance` is a text, one whose `name` has more than 80 characters;
* every 400 charges: one whose `amount` is a text, one whose `refunded` is a text;
* a few texts hold terminal escapes, markup or right-to-left overrides, as hostile senders use them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

FIRST_MS = 1_704_067_200_000
"""`updated_at` of the first record of every stream: 2024-01-01T00:00:00Z."""

_MASK = (1 << 64) - 1
_FIRST_NAMES = (
    "Ana", "Bruno", "Chloé", "Dmitri", "Elif", "Femi", "Grace", "Hiro", "Ingrid", "Jamal", "Kavya",
    "Łukasz", "Mei", "Noor", "Oisín", "Priya", "Quentin", "Rosa", "Søren", "Tomás", "Uma", "Viktor",
    "Wanjiru", "Zoë",
)  # fmt: skip
_LAST_NAMES = (
    "Almeida", "Berg", "Costa", "Dubois", "Eriksen", "Fischer", "García", "Hansen", "Ito", "Jansen",
    "Kowalska", "Lindqvist", "Moreau", "Nakamura", "O'Brien", "Petrov", "Quispe", "Rossi", "Šimek",
    "Tanaka", "Usman", "Vega", "Wójcik", "Yılmaz",
)  # fmt: skip
_COUNTRIES = ("DE", "FR", "PT", "ES", "PL", "SE", "NL", "IT", "BR", "IN", "JP", "NG")
_CURRENCIES = ("eur", "usd", "gbp", "sek", "jpy")
_STATUSES = ("succeeded", "succeeded", "succeeded", "succeeded", "pending", "failed")
_CHANNELS = ("web", "app", "store", "phone")
_HOSTILE = (
    "\x1b[31mred\x1b[0m \x1b]52;c;ZGVtbw==\x07",
    "[bold red]sale[/foo] [@click=app.quit]here[/]",
    "refund \u202etxt.exe\u202c",
    "line one\r\nline two\ttab",
)
_LONG_NAME = " ".join(["Society for the Improvement of Very Long Company Names"] * 2)
_WORDS = (
    "paid at the counter, thank you for the order; parcel left with the neighbour; call before delivery, "
    "the bell is broken; second invoice follows by post; gift wrapping was asked for; "
) * 40


@dataclass(frozen=True, slots=True)
class Dataset:
    """All records of one demo payments account.

    `charges` is the number of charges of generation 0; customers are a quarter of that, at least 10. Every
    further generation adds 2 percent, at least 5, to both streams. A charge has about `record_bytes` bytes.
    """

    seed: int
    charges: int
    generation: int = 0
    record_bytes: int = 600

    def total(self, stream: str) -> int:
        """How many records `stream` holds."""
        base = self.charges if stream == "charges" else max(10, self.charges // 4)
        return base + self.generation * max(5, base * 2 // 100)

    def rows(self, stream: str, start: int, count: int) -> list[str]:
        """The JSON texts of up to `count` records of `stream` from record `start` on."""
        make = self._maker(stream)
        return [make(n) for n in range(start, min(start + count, self.total(stream)))]

    def identifier(self, stream: str, n: int) -> str:
        """The `id` of record `n`."""
        return _identifier(stream, n, _mix(n, self._salt(stream)))

    def index_of(self, stream: str, identifier: str) -> int | None:
        """The `n` of the record with this `id`, None when there is none."""
        prefix = "ch_" if stream == "charges" else "cus_"
        digits = identifier[len(prefix) : len(prefix) + 9]
        if not identifier.startswith(prefix) or not (digits.isascii() and digits.isdigit()):
            return None
        n = int(digits)
        known = n < self.total(stream) and self.identifier(stream, n) == identifier
        return n if known else None

    def updated_ms(self, stream: str, n: int) -> int:
        """`updated_at` of record `n` in epoch milliseconds."""
        return FIRST_MS + (n >> 1) * _step(stream)

    def first_since(self, stream: str, since_ms: int) -> int:
        """The first record whose `updated_at` is at or after `since_ms` (the total when there is none)."""
        pairs = -((FIRST_MS - since_ms) // _step(stream))
        return min(max(0, pairs * 2), self.total(stream))

    def _salt(self, stream: str) -> int:
        text = f"{self.seed}/{stream}".encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")

    def _maker(self, stream: str) -> Callable[[int], str]:
        if stream == "charges":
            salt, customers = self._salt("charges"), self._salt("customers")
            return lambda n: _charge(n, salt, customers, self.record_bytes)
        salt = self._salt("customers")
        return lambda n: _customer(n, salt)


def iso(milliseconds: int) -> str:
    """`2024-01-01T00:00:00.000Z` of epoch milliseconds."""
    day, rest = divmod(milliseconds, 86_400_000)
    hours, rest = divmod(rest, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{_day(day)}T{hours:02d}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}Z"


def parse_iso(text: str) -> int:
    """Epoch milliseconds of an ISO 8601 time (UTC where no zone is given). Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


@lru_cache(maxsize=4096)
def _day(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()


def _step(stream: str) -> int:
    """Milliseconds between two values of `updated_at`; a customer for every four charges."""
    return 97_003 if stream == "charges" else 388_012


def _mix(n: int, salt: int) -> int:
    """64 well mixed bits of `n`: cheap, and the same on every machine."""
    h = ((n + 1) * 0x9E3779B97F4A7C15 + salt) & _MASK
    h = ((h ^ h >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    return h ^ h >> 31


def _identifier(stream: str, n: int, h: int) -> str:
    return f"{'ch_' if stream == 'charges' else 'cus_'}{n:09d}{h & 0xFFFF:04x}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _customer(n: int, salt: int) -> str:
    h = _mix(n, salt)
    fault = (n + salt) % 200
    first, last = h % len(_FIRST_NAMES), (h >> 8) % len(_LAST_NAMES)
    updated = FIRST_MS + (n >> 1) * 388_012
    record: dict[str, object] = {
        "id": _identifier("customers", n, h),
        "name": f"{_FIRST_NAMES[first]} {_LAST_NAMES[last]}",
        "email": f"customer{n}@mail{h % 40}.example",
        "country": _COUNTRIES[(h >> 16) % len(_COUNTRIES)],
        "phone": None if h & 7 == 0 else f"+{(h >> 20) % 90 + 10} {(h >> 24) % 10**8:08d}",
        "balance": (h >> 28) % 200_000 - 50_000,
        "vip": h >> 40 & 15 == 0,
        "created_at": iso(updated - (h >> 44) % 86_400_000),
        "updated_at": iso(updated),
    }
    if fault == 17:
        del record["email"]
    elif fault == 83:
        record["balance"] = f"{(h >> 28) % 90_000 / 100:.2f}"
    elif fault == 149:
        record["name"] = f"{_LONG_NAME} {n}"
    elif fault == 191:
        record["name"] = f"{_FIRST_NAMES[first]} {_HOSTILE[h % len(_HOSTILE)]}"
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def _charge(n: int, salt: int, customers_salt: int, size: int) -> str:
    h = _mix(n, salt)
    fault = (n + salt) % 400
    owner = (h >> 12) % max(10, n >> 2)
    customer = _identifier("customers", owner, _mix(owner, customers_salt))
    cents = (h >> 20) % 90_000 + 100
    amount = f'"{cents}"' if fault == 51 else str(cents)
    refunded = '"no"' if fault == 251 else ("true" if h >> 44 & 31 == 0 else "false")
    updated = FIRST_MS + (n >> 1) * 97_003
    description = f"Order {10_000 + n}"
    if fault == 351:
        description = _quoted(f"{description} {_HOSTILE[h % len(_HOSTILE)]}")[1:-1]
    head = (
        f'{{"id":"ch_{n:09d}{h & 0xFFFF:04x}","customer":"{customer}","amount":{amount},'
        f'"currency":"{_CURRENCIES[h % 5]}","status":"{_STATUSES[(h >> 4) % 6]}",'
        f'"description":"{description}","fee":{cents * 29 // 100_000}.{(h >> 8) % 90 + 10},'
        f'"refunded":{refunded},'
        f'"metadata":{{"order":"SO-{n:08d}","channel":"{_CHANNELS[(h >> 6) % 4]}","note":"'
    )
    tail = f'"}},"created_at":"{iso(updated - (h >> 48) % 3_600_000)}","updated_at":"{iso(updated)}"}}'
    room = size - len(head) - len(tail)
    offset = (h >> 32) % 200
    return f"{head}{_note(offset, room)}{tail}"


def _note(offset: int, length: int) -> str:
    """`length` characters of plain text (none when negative)."""
    if length <= 0:
        return ""
    note = _WORDS[offset : offset + length]
    return note if len(note) == length else (_WORDS * (length // len(_WORDS) + 2))[offset : offset + length]
