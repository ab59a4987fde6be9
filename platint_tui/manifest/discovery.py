"""What a manifest says of discovery: where streams, and the fields of a stream, are asked for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from platint_tui.manifest.fields import Bool, DataPath, FieldName, FieldType, Int, Line, Model, ResourceName
from platint_tui.manifest.paging import NoPage, Page
from platint_tui.manifest.request import BodyMatch, Request

OpenPath = Annotated[
    str, StringConstraints(pattern=r"^(?:\*|[A-Za-z0-9_$@-]+)(?:\.(?:\*|[A-Za-z0-9_$@-]+))*$", max_length=256)
]
"""A path where `*` stands for every member of an object."""


class Listing(Model):
    """A request whose records are streams themselves: an object type, an index, a table, a bucket.

    `into` is the resource that reads them: `*`, or a family `items.*`. A record called `orders` becomes the
    stream `orders` or `items.orders`; the resource's templates have its own name as `${resource.of}`.
    `scalar`: the records are plain values, put into a member of this name. `format` is the form of the answer.
    """

    into: ResourceName
    request: Request
    records: Literal[""] | DataPath
    format: Literal["json", "ndjson", "csv", "xml"] = "json"
    scalar: FieldName | None = None
    entries: FieldName | None = None
    page: Page = Field(default_factory=lambda: NoPage(type="none"))
    name: DataPath
    description: DataPath | None = None
    when: tuple[BodyMatch, ...] = ()
    estimate: DataPath | None = None
    max: Annotated[Int, Field(ge=1, le=100_000)] = 5_000
    optional: Bool = False
    """A refusal (no permission, no such feature) leaves these streams out with a note."""


class KeyFrom(Model):
    """Where a description names the fields that identify a record: a list of names, or of objects with the
    name at `name`. With `typed` the value of such a field is below a member named as its `type` says: the key
    of `{"id": {"S": "a"}}` is `id.S`.
    """

    records: DataPath
    name: DataPath | None = None
    typed: Bool = False


class Describe(Model):
    """Where the fields of a resource are asked for: a `request`, a type of the GraphQL schema (with `discover:
    {type: graphql}`), or an operation of the OpenAPI document (with `discover: {type: openapi}`).

    Each element of `records` (with `entries`, each member of the object there, its name put into that field)
    is a field: `name` (after `prefix`, where records hold it below a member: `properties.`), `type` through
    the table `types` (`any` for others), `description`, `required`, or `nullable` for the opposite.
    In `records` a step `*` stands for every member of an object, whatever its name.
    A read whose templates use `${resource.fields}` (the list of the names, without `prefix`) asks here first.
    """

    request: Request | None = None
    graphql: Line | None = None
    openapi: Line | None = None
    records: Literal[""] | OpenPath = ""
    entries: FieldName | None = None
    name: DataPath = "name"
    prefix: Annotated[str, Field(max_length=64)] = ""
    type: DataPath | None = None
    types: dict[Line, FieldType] = Field(default_factory=dict)
    description: DataPath | None = None
    required: DataPath | None = None
    nullable: DataPath | None = None
    max_length: DataPath | None = None
    skip: tuple[BodyMatch, ...] = ()
    """Fields to leave out."""
    key: KeyFrom | None = None


class Discover(Model):
    """Where the catalogue comes from: this file (`static`), the database itself (`introspect`), or this file
    with the fields of a live schema: a GraphQL introspection sent to `request`, or an OpenAPI document at
    `request`. `listings` add streams that the account has.
    """

    type: Literal["static", "introspect", "graphql", "openapi"]
    request: Request | None = None
    listings: tuple[Listing, ...] = ()
