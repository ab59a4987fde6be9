"""From pages to rows: key, mapping, version, and what cannot become a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Any, NamedTuple

from platint_tui.core.errors import ErrorClass, PlatintError, RecordError
from platint_tui.core.ids import digest
from platint_tui.core.jsontext import canonical_key, content_hash, dumps
from platint_tui.core.model import Fault, NewDeadLetter, Op, Page, Row
from platint_tui.engine.fingerprint import fingerprint
from platint_tui.engine.plan import Side, StreamPlan


class Rejected(NamedTuple):
    """A record that does not reach the target: its text, its key ("" when it has none) and why.

    `outdated`: a later version of it, or the end of the whole stream, came in the same pages.
    """

    raw: str
    key: str
    fault: Fault
    op: Op = Op.UPSERT
    outdated: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """The rows of a few pages, each key once; `repeated` counts the earlier versions that were left out."""

    rows: Sequence[Row]
    read: int
    repeated: int
    rejected: Sequence[Rejected]


def lookup(value: Mapping[str, Any], path: str) -> Any:
    """The value at a field name or dotted path, None when there is none."""
    if path in value:
        return value[path]
    found: Any = value
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found


def record_key(value: Mapping[str, Any], raw: str, key: Sequence[str]) -> str:
    """The identity of a record: its key values, or the hash of its text for a stream without a key.

    Raises RecordError (code `key`) when a key field is missing, null, an object or a list.
    """
    if len(key) == 1:
        # The common cases without a detour: a text or an integer as canonical_key would write it.
        part = value.get(key[0])
        if type(part) is str:
            return f"[{encode_basestring(part)}]"
        if type(part) is int:
            return f"[{part}]"
    if not key:
        return canonical_key([content_hash(raw)])
    if len(key) == 1 and type(part := value.get(key[0])) is str:
        return canonical_key((part,))
    return canonical_key([_key_part(value, name) for name in key])


def _key_part(value: Mapping[str, Any], name: str) -> Any:
    part = lookup(value, name)
    if part is None:
        raise RecordError(f"The key field '{name}' is missing or null.", code="key", where=name)
    if isinstance(part, dict | list):
        raise RecordError(f"The key field '{name}' is no single value.", code="key", where=name)
    return part


def row_idempotency_key(plan: StreamPlan, key: str, raw: str, seq: int, sent: str = "") -> str:
    """The key that stays the same for every attempt to write this record, as `sent`, from position `seq`.

    `sent` is what the mapping made of it: a platform refuses a key that comes back with another body.
    """
    return digest(plan.integration, plan.stream, key, content_hash(raw), str(seq), sent)


def make_row(
    plan: StreamPlan, raw: str, value: dict[str, Any], idempotency_key: str = "", op: Op = Op.UPSERT
) -> Row:
    """One record as a row. Raises RecordError when it has no key or cannot be mapped."""
    if op is Op.TRUNCATE:
        return Row("", raw, {}, None, idempotency_key, op)
    if op is Op.DELETE and not plan.key:
        raise RecordError(
            "A deleted record of a stream without a key cannot be found at the target.", code="key"
        )
    key = record_key(value, raw, plan.key)
    version = lookup(value, plan.cursor) if plan.cursor else None
    return Row(key, raw, plan.mapper(value), version, idempotency_key, op)


EVERY_OP = frozenset(Op)


def prepare(
    plan: StreamPlan, pages: Iterable[Page], seq: int, *, keys: bool, applies: frozenset[Op] = EVERY_OP
) -> Prepared:
    """The rows of `pages`. `keys`: give each row its idempotency key (a transactional target needs none).

    `applies` are the operations that the target carries out; a record with another one is refused. Deletes that
    the integration ignores are counted with the repeated ones: nothing of them is written, as agreed. What was
    written before a truncate in the same pages need not be written at all.
    """
    rows: dict[str, Row] = {}
    rejected: list[Rejected] = []
    refused: set[str] = set()
    read = repeated = 0
    for page in pages:
        read += len(page.records) + len(page.bad)
        for raw, reason in page.bad:
            fault = Fault(ErrorClass.RECORD, "not_a_record", f"This element is no record: {reason}.")
            rejected.append(Rejected(raw, "", fault))
        for raw, value, op in page.records:
            if op and plan.mapping.deletes == "ignore":
                repeated += 1
                continue
            try:
                if op not in applies:
                    raise unsupported(op)
                row = make_row(plan, raw, value, op=op)
                if keys:
                    own = row_idempotency_key(plan, row.key, raw, seq, dumps(row.value))
                    row = row._replace(idempotency_key=own)
            except PlatintError as error:
                rejected.append(Rejected(raw, _key_or_none(plan, raw, value), _fault_of(error), op))
                refused.add(rejected[-1].key)
                continue
            if op is Op.TRUNCATE:
                repeated += len(rows)
                rows.clear()
                rejected = [item._replace(outdated=True) for item in rejected]
            elif row.key in refused:
                refused.discard(row.key)
                rejected = [
                    item._replace(outdated=True) if item.key == row.key else item for item in rejected
                ]
            if row.key in rows:
                repeated += 1
                del rows[row.key]
            rows[row.key] = row
    return Prepared(list(rows.values()), read, repeated, rejected)


def _key_or_none(plan: StreamPlan, raw: str, value: dict[str, Any]) -> str:
    try:
        return record_key(value, raw, plan.key)
    except RecordError:
        return ""


def unsupported(op: Op) -> RecordError:
    """Why a record cannot be written to a target that does not carry out `op`."""
    what = "deleted" if op is Op.DELETE else "emptied"
    return RecordError(
        f"The record says that it was {what}, which this target cannot carry out.",
        code="delete_unsupported",
        hint="Do it there by hand, or say `deletes: ignore` for the stream in the integration file.",
    )


def _fault_of(error: PlatintError) -> Fault:
    return Fault(ErrorClass.RECORD, error.code, error.message, field=error.where, hint=error.hint)


def dead_letter(
    plan: StreamPlan, side: Side, run: str, rejected: Rejected, idempotency_key: str
) -> NewDeadLetter:
    """A rejected record as the store keeps it; `side` is the end that refused it."""
    return NewDeadLetter(
        profile=side.profile.name,
        platform=side.platform,
        integration=plan.integration,
        stream=plan.stream,
        run=run,
        manifest_version=side.manifest_version,
        record_key=rejected.key,
        payload=rejected.raw.encode("utf-8", "surrogatepass"),
        content_hash=content_hash(rejected.raw),
        idempotency_key=idempotency_key,
        fingerprint=fingerprint(side.platform, plan.integration, plan.stream, rejected.fault),
        fault=rejected.fault,
        op=rejected.op,
        integration_version=plan.version,
    )
