"""What a manifest says of one resource: its key and fields, how it is read by pages, how it is written."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from platint_tui.core.model import Json
from platint_tui.manifest.fields import (
    Bool,
    DataPath,
    Duration,
    FieldName,
    HeaderName,
    Int,
    Line,
    Model,
    ResourceName,
    Scalar,
    Text,
)

FieldType = Literal["string", "integer", "number", "boolean", "timestamp", "object", "array", "any"]


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


class Request(Model):
    """The request of a read: templates in path, query, headers and body. The path follows the base URL."""

    method: Literal["GET", "POST"] = "GET"
    path: Annotated[str, Field(min_length=1, max_length=2048)]
    query: dict[str, Scalar] = Field(default_factory=dict)
    headers: dict[HeaderName, str] = Field(default_factory=dict)
    body: Any = None


class _Page(Model):
    stop_on_empty: Bool = False
    """An empty page ends the scan whatever else the answer says."""
    max_pages: Annotated[Int, Field(ge=1)] | None = None
    """More pages than this in one scan is an error."""
    repeat_guard: Bool = True
    """The same page request twice in one scan is an error, not a loop."""


class NoPage(_Page):
    """Everything comes in one answer."""

    type: Literal["none"]


class LinkHeaderPage(_Page):
    """The next page is the `Link` header's address with this `rel`."""

    type: Literal["link_header"]
    rel: Line = "next"


class LinkBodyPage(_Page):
    """The next page is the address at `path` in the answer; absent, null or empty ends the scan."""

    type: Literal["link_body"]
    path: DataPath


class CursorPage(_Page):
    """The next page is asked for with a value `from` the body, or from the last record
    (`last_record.<field>`).

    `more` names the flag that says whether another page follows; without it an absent, null or empty value
    ends the scan.
    """

    type: Literal["cursor"]
    from_: DataPath = Field(alias="from")
    param: Line
    in_: Literal["query"] = Field("query", alias="in")
    more: DataPath | None = None


class OffsetPage(_Page):
    """Pages by the number of records to skip; ends at `total`, or with a page shorter than `size`."""

    type: Literal["offset"]
    param: Line = "offset"
    limit_param: Line | None = "limit"
    size: Annotated[Int, Field(ge=1)]
    total: DataPath | None = None


class NumberPage(_Page):
    """Pages by number; ends at `total_pages`, or with a page shorter than `size`."""

    type: Literal["page"]
    param: Line = "page"
    size_param: Line | None = None
    size: Annotated[Int, Field(ge=1)]
    start: Annotated[Int, Field(ge=0)] = 1
    total_pages: DataPath | None = None


Page = Annotated[
    NoPage | LinkHeaderPage | LinkBodyPage | CursorPage | OffsetPage | NumberPage, Field(discriminator="type")
]

CursorType = Literal["iso8601", "epoch_s", "epoch_ms", "int", "string"]


class CursorSpec(Model):
    """The field that says how new a record is, and how the platform is asked for what is new.

    `start_param` is a `>=` filter: the boundary is read again and exact repeats are dropped. Without it
    every scan reads everything and older records are dropped here. `lag` is how far behind now a scan ends;
    `initial` is where the first scan starts (negative: before now).
    """

    field: DataPath
    type: CursorType
    start_param: Line | None = None
    end_param: Line | None = None
    order: Literal["asc", "desc", "none"] = "none"
    lag: Duration = 0.0
    initial: Duration | None = None
    missing: Literal["include", "exclude", "raise"] = "raise"


class Read(Model):
    """How a resource is read. `records` is where the list is in the answer; '' means that the answer is the
    list.
    """

    request: Request
    records: Literal[""] | DataPath
    single: Bool = False
    """The answer is one record itself, not a list."""
    page: Page
    cursor: CursorSpec | None = None
    total: DataPath | None = None


class Idempotency(Model):
    """The header that makes a repeated write harmless."""

    header: HeaderName = "Idempotency-Key"
    value: str = "${run.item_key}"


class WriteOp(Model):
    """One kind of write. `returns` maps names to paths in the answer; `error_field` is where a refusal
    names the field.
    """

    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    path: Annotated[str, Field(max_length=2048)] = ""
    query: dict[str, Scalar] = Field(default_factory=dict)
    headers: dict[HeaderName, str] = Field(default_factory=dict)
    encode: Literal["json", "form"] = "json"
    body: Any = "${record}"
    idempotency: Idempotency | None = None
    returns: dict[str, DataPath] = Field(default_factory=dict)
    error_field: DataPath | None = None


class Write(Model):
    """The writes that a resource knows; a sync uses `upsert`, or `create` where there is none."""

    create: WriteOp | None = None
    upsert: WriteOp | None = None
    update: WriteOp | None = None
    delete: WriteOp | None = None


class Deletes(Model):
    """How deleted records are noticed; `none` says that they are not."""

    mode: Literal["none"] = "none"


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
    write: Write | None = None
    deletes: Deletes = Field(default_factory=Deletes)
    estimate: Bool = False
    """Discovery asks for the number of records (`read.total`) with one request."""
    notes: tuple[Text, ...] = ()

    def field(self, name: str) -> FieldSpec | None:
        """The declared field called `name`."""
        return next((item for item in self.fields if item.name == name), None)


__all__ = [
    "CursorPage",
    "CursorSpec",
    "Deletes",
    "FieldSpec",
    "FieldType",
    "Idempotency",
    "Json",
    "LinkBodyPage",
    "LinkHeaderPage",
    "NoPage",
    "NumberPage",
    "OffsetPage",
    "Page",
    "Parent",
    "Read",
    "Request",
    "Resource",
    "Write",
    "WriteOp",
]
