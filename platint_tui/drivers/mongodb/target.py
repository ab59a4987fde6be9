"""Collections as targets: rows replace documents by their key, in bulk, each refused one found by itself.

A document has the fields of its row, `_id` (the key: a single value as it is, several as their JSON text), and
`_platint`: `version` (the row's cursor value, in the form of `tables.version_of`), `run` and `synced_at`. A row
replaces a document unless the document's version is newer; both are one operation of the server, so two writers
cannot step between. Rows and position are not one transaction: repeated rows replace themselves.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo import DeleteOne, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError, OperationFailure

from platint_tui.core.errors import ConfigError, PlatintError, RecordError, TransientError
from platint_tui.core.jsontext import canonical_key, loads
from platint_tui.core.model import (
    Batch,
    Confirmed,
    Evolution,
    Fault,
    Op,
    Row,
    SchemaChange,
    TargetPlan,
    WriteResult,
)
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.mongodb.connection import Address, Database, durable
from platint_tui.drivers.mongodb.documents import document, encoded, id_value, natives_of
from platint_tui.drivers.mongodb.failures import DUPLICATE_KEY, FAILURES, said, translate
from platint_tui.drivers.mongodb.reading import COLLECTION, Place, list_places
from platint_tui.drivers.mongodb.values import OPTIONS, OWN
from platint_tui.drivers.retries import Retries
from platint_tui.drivers.tables import Refusal, record_fault, version_of
from platint_tui.manifest.vectors import rule_for_code

Item = tuple[int, UpdateOne | DeleteOne]
_MOST_NAME = 200
_CODES = {
    DUPLICATE_KEY: (
        "duplicate_key",
        "Another document has this value already, and the index wants each only once.",
    ),
    121: ("validation", "Edit the record and replay it, or change the validator of the collection."),
    10334: ("too_large", "Leave fields out with select, and replay it."),
}


class MongodbTarget:
    """Writes rows of one stream into one collection; made by `MongodbDriver.open_target`."""

    transactional = False
    applies = frozenset(Op)

    def __init__(
        self, database: Database, address: Address, plan: TargetPlan, context: DriverContext
    ) -> None:
        _check_name(plan.target, address)
        self._database = database
        self._address = address
        self._plan = plan
        self._clock = context.clock
        self._connector = context.connector
        self.changes: list[SchemaChange] = []
        """The collection, once it was made."""
        self._is_new = False
        self._opening = Retries(context, f"open {plan.target}")
        self._writing = Retries(context, f"write {plan.target}")
        self._natives = natives_of(plan.fields)
        self._known = frozenset(field.name for field in plan.fields) if plan.typed else None
        key = plan.key[0] if len(plan.key) == 1 else ""
        self._id_native = self._natives.get("_id") or self._natives.get(key, "")
        self._collection: AsyncCollection[dict[str, Any]] = database.get_collection(
            plan.target, codec_options=OPTIONS, write_concern=durable(address)
        )

    async def prepare(self) -> None:
        """Look at the collection. Raises ConfigError when it cannot be written or made, TransientError."""
        self._is_new = await self._opening.run(self._look) is None

    async def planned(self) -> Sequence[SchemaChange]:
        """What writing would make or take over. Raises what `prepare` raises."""
        target = self._plan.target
        if await self._opening.run(self._look) is None:
            return [self._creation("The first row makes the collection.")]
        if await self._opening.run(self._has_others):
            detail = (
                "It has documents that platint-tui did not write: those with the key of a row are replaced."
            )
            return [SchemaChange("replace_documents", target, "", detail)]
        return []

    async def confirmed(self) -> Confirmed | None:
        """None: a collection holds no position."""
        return None

    async def write(self, batch: Batch) -> WriteResult:
        """Replace, delete or empty, on disk at a majority of the members; refused rows come back as faults.

        Raises TransientError when the database stays away through all tries, CredentialError, ConfigError,
        SystemicError; then nothing of the batch counts as written, and writing it again does no harm.
        """
        result = await self._writing.run(lambda: self._write(batch))
        if self._is_new and result.written:
            self._is_new = False
            self.changes.append(self._creation(f"The collection '{clean(self._plan.target)}' was made."))
        return result

    def _creation(self, detail: str) -> SchemaChange:
        target = self._plan.target
        return SchemaChange(
            "create_collection", target, "", detail, f"db.createCollection({json.dumps(target)})"
        )

    async def close(self) -> None:
        """Nothing to release: the connections are the driver's."""

    async def _look(self) -> Place | None:
        plan, where = self._plan, self._address.where
        name = plan.target
        if plan.operation not in ("", "upsert"):
            raise ConfigError(
                f"A collection is written by upsert, not by {clean(plan.operation)}.",
                where=where,
                code="operation",
            )
        try:
            found = await list_places(self._database, name)
        except FAILURES as error:
            raise translate(error, self._address, "look") from None
        if not found:
            if plan.contract.tables is not Evolution.EVOLVE:
                raise ConfigError(
                    f"There is no collection '{clean(name)}', and the contract of the stream makes none.",
                    where=where,
                    hint="Make it, name another target, or set the contract's tables to evolve.",
                    code="contract",
                )
            return None
        if found[0].kind != COLLECTION:
            raise ConfigError(
                f"'{clean(name)}' is a {found[0].kind}, whose documents cannot be replaced by their key.",
                where=where,
                hint="Choose another target in the integration.",
                code="target_shape",
            )
        return found[0]

    async def _has_others(self) -> bool:
        try:
            first = await self._collection.find_one({}, {OWN: 1})
        except FAILURES as error:
            raise translate(error, self._address, "write") from None
        return first is not None and OWN not in first

    async def _write(self, batch: Batch) -> WriteResult:
        faults: list[tuple[int, Fault]] = []
        written = superseded = 0
        for part in self._parts(batch.rows, faults):
            if part is None:
                await self._truncate()
                written += 1
                continue
            done, newer = await self._bulk(part, faults)
            written, superseded = written + done, superseded + newer
        return WriteResult(written, superseded, sorted(faults, key=lambda item: item[0]))

    def _parts(self, rows: Sequence[Row], faults: list[tuple[int, Fault]]) -> list[list[Item] | None]:
        """Operations that may be carried out in any order, None for emptying the collection between them.

        Rows that cannot be written are added to `faults`.
        """
        now = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        parts: list[list[Item] | None] = []
        keys: set[str] = set()
        current: list[Item] = []
        for index, row in enumerate(rows):
            if row.op is Op.TRUNCATE or row.key in keys:
                parts.append(current)
                current, keys = [], set()
            if row.op is Op.TRUNCATE:
                parts.append(None)
                continue
            try:
                current.append((index, self._operation(row, now)))
            except Refusal as refusal:
                faults.append((index, refusal.fault))
            keys.add(row.key)
        return [part for part in (*parts, current) if part is None or part]

    def _operation(self, row: Row, now: datetime) -> UpdateOne | DeleteOne:
        parts = loads(row.key)
        identity = id_value(parts[0], self._id_native) if len(parts) == 1 else row.key
        same = {"_id": {"$eq": identity}}
        if row.op is Op.DELETE:
            return DeleteOne(same)
        version = version_of(row.version)
        own = {"version": version, "run": self._plan.run, "synced_at": now}
        fields = {"_id": identity, **document(self._fields(row), self._natives), OWN: own}
        new = {"$literal": RawBSONDocument(encoded(fields))}
        if version is None:
            return UpdateOne(same, [{"$replaceWith": new}], upsert=True)
        # One operation compares and replaces; a document without a version compares as less than every one.
        newer = {"$gt": [f"${OWN}.version", {"$literal": version}]}
        return UpdateOne(same, [{"$replaceWith": {"$cond": [newer, "$$ROOT", new]}}], upsert=True)

    def _fields(self, row: Row) -> dict[str, Any]:
        """The fields of a row without its `_id`. Raises Refusal, and ConfigError where the contract is frozen."""
        value = row.value
        if "_id" in value and not _is_key(value["_id"], row.key):
            raise Refusal(
                record_fault(
                    "key",
                    "The field '_id' is not the key of the record, but a document has only one _id.",
                    "_id",
                    "Give it another name with map, or make it the key of the stream.",
                )
            )
        if OWN in value:
            reason = f"The field '{OWN}' is where the target keeps what it knows of a document."
            raise Refusal(record_fault("reserved", reason, OWN, "Give it another name with map."))
        fields = {name: item for name, item in value.items() if name != "_id"}
        if self._known is None or self._plan.contract.columns is Evolution.EVOLVE:
            return fields
        new = [name for name in fields if name not in self._known]
        if not new:
            return fields
        if self._plan.contract.columns is Evolution.DISCARD_VALUE:
            return {name: item for name, item in fields.items() if name in self._known}
        text = f"The field '{clean(new[0])}' is new, and the contract of the stream takes no new ones."
        if self._plan.contract.columns is Evolution.FREEZE:
            hint = "Run a discovery of the source, or set the contract's columns to evolve."
            raise ConfigError(text, where=self._address.where, hint=hint, code="contract")
        raise Refusal(record_fault("contract", text, new[0]))

    async def _truncate(self) -> None:
        """Take away what a sync wrote; documents of others stay."""
        try:
            await self._collection.delete_many({OWN: {"$exists": True}})
        except FAILURES as error:
            raise translate(error, self._address, "write") from None

    async def _bulk(self, items: Sequence[Item], faults: list[tuple[int, Fault]]) -> tuple[int, int]:
        """(written, superseded) of operations that go together. Refused ones are added to `faults`."""
        try:
            result = await self._collection.bulk_write([operation for _, operation in items], ordered=False)
            counts = result.bulk_api_result
        except BulkWriteError as error:
            counts = dict(error.details)
        except FAILURES as error:
            failure = translate(error, self._address, "write")
            if not isinstance(failure, RecordError):
                raise failure from None
            if len(items) == 1:
                faults.append((items[0][0], self._fault({"code": failure.code, "errmsg": failure.message})))
                return 0, 0
            # The server refused all of them as one command: the one to blame is found by halving.
            middle = len(items) // 2
            first = await self._bulk(items[:middle], faults)
            second = await self._bulk(items[middle:], faults)
            return first[0] + second[0], first[1] + second[1]
        refused = self._refused(counts)
        faults += [(items[at][0], fault) for at, fault in refused.items()]
        deleted = sum(isinstance(item[1], DeleteOne) for at, item in enumerate(items) if at not in refused)
        done = counts["nUpserted"] + counts["nModified"] + deleted
        return done, counts["nMatched"] - counts["nModified"]

    def _refused(self, counts: dict[str, Any]) -> dict[int, Fault]:
        """Faults by the place of their operation. Raises PlatintError when the operations are not to blame."""
        for error in counts.get("writeConcernErrors") or ():
            raise self._failure(error)
        refused: dict[int, Fault] = {}
        for error in counts.get("writeErrors") or ():
            failure = self._failure(error)
            if not isinstance(failure, RecordError):
                raise failure
            refused[error["index"]] = self._fault(error)
        return refused

    def _failure(self, error: dict[str, Any]) -> PlatintError:
        if error.get("code") == DUPLICATE_KEY and list(error.get("keyPattern") or ()) == ["_id"]:
            return TransientError(
                "Somebody else made the same document at this moment.",
                where=self._address.where,
                code="11000",
            )
        details: dict[str, Any] = {name: error[name] for name in ("code", "errmsg") if name in error}
        told = OperationFailure(str(error.get("errmsg", "")), error.get("code"), details)
        return translate(told, self._address, "write")

    def _fault(self, error: dict[str, Any]) -> Fault:
        """Why one document is refused, in the server's words."""
        number = int(error.get("code") or 0)
        code, hint = _CODES.get(number, ("not_storable", ""))
        rule = rule_for_code(self._connector, str(number))
        told = said(OperationFailure(str(error.get("errmsg", "")), number))
        message = (
            told
            if told.startswith("The database refuses")
            else f"The collection refuses this document: {told}."
        )
        return record_fault(code, message, _field_of(error), (rule.hint if rule else "") or hint)


def _check_name(name: str, address: Address) -> None:
    """Raise ConfigError unless `name` can be the name of a collection of ours."""
    known = name.isprintable() and "$" not in name and not name.startswith((".", "system."))
    if not known or name.endswith(".") or not 0 < len(name.encode()) <= _MOST_NAME:
        raise ConfigError(
            f"'{clean(name)}' cannot be the name of a collection.",
            where=address.where,
            hint="Choose another target in the integration.",
            code="target_name",
        )


def _is_key(value: Any, key: str) -> bool:
    try:
        return canonical_key([value]) == key
    except RecordError:
        return False


def _field_of(error: dict[str, Any]) -> str:
    """The field that a refusal is about, "" when it does not say."""
    pattern = error.get("keyPattern")
    if isinstance(pattern, dict) and pattern:
        return str(next(iter(pattern)))
    found: Any = ((error.get("errInfo") or {}).get("details") or {}).get("schemaRulesNotSatisfied") or ()
    for rule in found:
        for part in rule.get("propertiesNotSatisfied") or ():
            return str(part.get("propertyName", ""))
        for name in rule.get("missingProperties") or ():
            return str(name)
    return ""
