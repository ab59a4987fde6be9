"""What a manifest says of one resource: its key and fields, how it is read by pages, how it is written."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from platint_tui.manifest.discovery import Describe
from platint_tui.manifest.fields import (
    Bool,
    DataPath,
    Duration,
    FieldName,
    FieldType,
    HeaderName,
    Identifier,
    Int,
    Line,
    Model,
    Positive,
    ResourceName,
    Scalar,
    Size,
    Statuses,
    StatusList,
    Text,
)
from platint_tui.manifest.paging import Page
from platint_tui.manifest.request import BodyMatch, Encoding, GraphQL, Request
from platint_tui.manifest.sources import Sink, Source


class FieldSpec(Model):
    """A declared field of a record."""

    name: FieldName
    type: FieldType = "any"
    required: Bool = False
    max_length: Annotated[Int, Field(ge=1)] | None = None
    description: Text = ""


class Parent(Model):
    """The resource whose records this one is read for, one scan each; the record is `${parent.…}`."""

    resource: ResourceName
    as_: Literal["parent"] = Field("parent", alias="as")


CursorType = Literal["iso8601", "epoch_s", "epoch_ms", "rfc2822", "date", "int", "string"]


class CursorSpec(Model):
    """The field that says how new a record is, and how the platform is asked for what is new.

    `start_param` is a `>=` filter in the query: the boundary is read again and exact repeats are dropped. A
    filter elsewhere is a template with `${cursor.start}` (and `${cursor.end}`), with `side: server`. Without
    either every scan reads everything and older records are dropped here (`side: client`). `format` is how the
    platform wants the value where that is not the field's own form: one of the types, or a pattern of
    strftime (`%Y/%m/%d %H:%M`, UTC).
    `lag` is how far before the greatest value seen the next scan starts, for records that show up late;
    `initial` is where the first scan starts (negative: before now). With `window` the platform takes a limited
    span at a time: the scan goes through the time in such steps, which needs `initial` and `end_param` or
    `${cursor.end}`.
    """

    field: DataPath
    type: CursorType
    start_param: Line | None = None
    end_param: Line | None = None
    format: Line | None = None
    side: Literal["server", "client"] | None = None
    order: Literal["asc", "desc", "none"] = "none"
    lag: Duration = 0.0
    initial: Duration | None = None
    window: Positive | None = None
    missing: Literal["include", "exclude", "raise"] = "raise"


class CsvForm(Model):
    """How a CSV is written: the first line has the names, values are texts, an empty unquoted value is null."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","


class Read(Model):
    """How a resource is read. `records` is where the list is in the answer; '' means that the answer is the
    list.

    `format` is the form of the answer (`file`: by the ending of the path, .json, .ndjson, .jsonl, .csv, .xml,
    each also with .gz); an XML element becomes an object of its children (attributes as `@name`, text beside
    them as `#text`), and a path to records may lead to one or to many. `compression` unpacks a body that is
    compressed in itself. `scalar` puts plain values into a member of this name; `entries`: the records are the
    members of an object, their names put into this member. `skip` leaves elements out. `from_parent` copies
    values of the parent record into each record (name: path in the parent). `optional`: an answer without
    `records` has none (platforms that leave empty lists out); otherwise it is an error in JSON.
    """

    request: Request
    records: Literal[""] | DataPath
    format: Literal["json", "ndjson", "csv", "xml", "file"] = "json"
    compression: Literal["gzip"] | None = None
    csv: CsvForm = Field(default_factory=CsvForm)
    scalar: FieldName | None = None
    entries: FieldName | None = None
    skip: tuple[BodyMatch, ...] = ()
    from_parent: dict[FieldName, DataPath] = Field(default_factory=dict)
    optional: Bool = False
    single: Bool = False
    """The answer is one record itself, not a list."""
    page: Page
    cursor: CursorSpec | None = None
    total: DataPath | None = None


_GONE = Statuses(((404, 404), (410, 410)), ())


class One(Model):
    """How one record is read, for events that bring some of its fields only: the request looks up
    `${record.<path>}` in what the event says of it.

    `record` is where the record is in the answer; '' means that the answer is the record. A list there has it as its
    only element, and null or an empty list means that it is gone, as an answer with a status of `missing` does, or
    one that `missing_when` holds for. `from_event` copies values of the event's record into the record, where reading
    the resource copies them from its parent (name: path). `without` are members that only this answer has, which are
    left out. Everything else is as in `read`.
    """

    request: Request
    record: Literal[""] | DataPath = ""
    missing: StatusList = _GONE
    missing_when: BodyMatch | None = None
    from_event: dict[FieldName, DataPath] = Field(default_factory=dict)
    without: tuple[FieldName, ...] = ()


class Idempotency(Model):
    """The header that makes a repeated write harmless."""

    header: HeaderName = "Idempotency-Key"
    value: str = "${run.item_key}"


class BulkResults(Model):
    """Where the answer of a bulk request tells each row's outcome: the list at `path` ('' is the answer
    itself), in the order of the rows, by `id` (equal to the row's value at `row_id`, or else to `${item.id}`), or
    by `index` (the row's place in the request, from 0).

    `unwrap`: each element is an object with one member, which is the outcome (Elasticsearch). A row failed
    when its element matches `failed`, or has a `status` of 400 or more; with `only_failures` all the named
    ones did. `code`, `message` and `field` say why. `taken` is where the answer lists the rows that it took:
    then the list of failures may be missing when there are none.
    """

    path: Literal[""] | DataPath
    id: DataPath | None = None
    row_id: DataPath | None = None
    index: DataPath | None = None
    unwrap: Bool = False
    only_failures: Bool = False
    taken: DataPath | None = None
    failed: BodyMatch | None = None
    status: DataPath | None = None
    code: DataPath | None = None
    message: DataPath | None = None
    field: DataPath | None = None


class Bulk(Model):
    """Many rows in one request. `item` is one row in it (a list is written as several elements, as `_bulk` of
    Elasticsearch wants it); the operation's body holds all of them as `${items}`. In `item`, `${item.index}`
    is the row's number in the batch, of which a request may hold a part, and `${item.id}` a short text that
    stays the same for the row.
    """

    size: Annotated[Int, Field(ge=1, le=100_000)]
    max_bytes: Size | None = None
    item: Any = "${record}"
    results: BulkResults | None = None


class WriteOp(Model):
    """One kind of write. `returns` maps names to paths in the answer; `error_field` is where a refusal
    names the field. `gone` are statuses that mean that a row to be deleted is not there any more.
    """

    endpoint: Identifier | None = None
    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    path: Annotated[str, Field(max_length=2048)] = ""
    query: dict[str, Scalar] = Field(default_factory=dict)
    headers: dict[HeaderName, str] = Field(default_factory=dict)
    encode: Encoding = "json"
    body: Any = "${record}"
    graphql: GraphQL | None = None
    idempotency: Idempotency | None = None
    bulk: Bulk | None = None
    returns: dict[str, DataPath] = Field(default_factory=dict)
    error_field: DataPath | None = None
    gone: StatusList | None = None
    weight: Annotated[Int, Field(ge=1, le=1000)] = 1


class Write(Model):
    """The writes that a resource knows. A sync uses the one that its target names, otherwise `upsert`, or
    `create` where there is none.

    `follow_deletes`: a record that was deleted at the source of a sync is deleted here too, by `delete`. Without
    it such a record becomes a dead letter, because deleting somebody's record is not a thing to do by the way.
    """

    follow_deletes: Bool = False

    create: WriteOp | None = None
    upsert: WriteOp | None = None
    update: WriteOp | None = None
    delete: WriteOp | None = None


class Deletes(Model):
    """How deleted records are noticed; `none` says that they are not, `cdc` that the change feed tells."""

    mode: Literal["none", "cdc"] = "none"


class Resource(Model):
    """One resource, already merged with the manifest's `defaults`.

    `key` names the fields that identify a record, `[]` says that there are none, and None that the platform
    is asked.
    """

    description: Text = ""
    key: tuple[DataPath, ...] | None = None
    fields: tuple[FieldSpec, ...] = ()
    parent: Parent | None = None
    read: Read | None = None
    one: One | None = None
    """How one record is read by itself."""
    source: Source | None = None
    """How it is read by a driver other than http."""
    sink: Sink | None = None
    """How it is written by a driver other than http, beside the operations in `write`."""
    write: Write | None = None
    deletes: Deletes = Field(default_factory=Deletes)
    estimate: Bool = False
    """Discovery asks for the number of records (`read.total`) with one request."""
    describe: Describe | None = None
    needs: tuple[Line, ...] = ()
    """Scopes or permissions that reading needs, in the platform's words."""
    write_needs: tuple[Line, ...] = ()
    """What writing needs, in the platform's words."""
    notes: tuple[Text, ...] = ()

    def field(self, name: str) -> FieldSpec | None:
        """The declared field called `name`."""
        return next((item for item in self.fields if item.name == name), None)
