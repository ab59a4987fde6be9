"""What a manifest says of webhooks: how a request is verified, what events it has, and what they are records of."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from platint_tui.manifest.fields import (
    Bool,
    DataPath,
    FieldName,
    HeaderName,
    Int,
    Line,
    Model,
    ResourceName,
    Size,
)
from platint_tui.manifest.request import BodyMatch
from platint_tui.manifest.subscribing import Lists, Subscribes
from platint_tui.manifest.verifying import Verify

SHOWN = ("token", "basic", "jwt")
"""Schemes whose secret is in the request itself, in a header or a parameter."""

EventPattern = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x20\x7f]{1,128}$")]
"""An event type, with `*` for any text: `customer.*`."""

Source = Annotated[
    str, StringConstraints(pattern=r"^(?:hash|(?:header|body|query|form|batch):[^\x00-\x1f\x7f]{1,256})$")
]
"""Where a value is in a request: `header:x-github-delivery`, `body:data.object.id`, `query:id`, `form:MessageSid`;
`batch:` is a path in the whole body where a request has several events. `hash` is the hash of the event's bytes, for
ids that are not always different."""


def _ways(value: Any) -> Any:
    if isinstance(value, str):
        return ((value,),)
    if isinstance(value, list | tuple) and value and all(isinstance(item, str) for item in value):
        return (tuple(value),)
    return value


_Parts = Annotated[tuple[Source, ...], Field(min_length=1)]
Ways = Annotated[
    tuple[_Parts, ...],
    BeforeValidator(_ways, json_schema_input_type=Source | tuple[Source, ...] | tuple[_Parts, ...]),
]
"""A source, a list of sources whose values are joined, or a list of such lists: the first whose values are all there
is used."""


class EventFields(Model):
    """Where a request says what its event is.

    `headers` must be there for this to apply (with this value; `*` is any text), compared without regard to case.
    `payload` is the parameter of a form that holds the JSON document (GitHub, Slack). `many`: the path of the list
    of events in the body (`.` when the body is the list; a body that is an object is one event); then `body:` is
    looked for in the element.

    `id` identifies the event; several values are joined by `:`. Where it is not there, the hash of the bytes
    identifies it. `order_key` is the object whose events must keep their order. `varies` are members of the event's
    JSON that differ from one delivery of it to the next (the number of the try): an event with the same id is the
    same one when all else is equal.
    """

    headers: dict[HeaderName, Line] = Field(default_factory=dict)
    payload: Line | None = None
    many: Line | None = None
    id: Ways = ()
    type: Ways = ()
    type_join: Annotated[str, Field(max_length=3)] = "."
    time: Ways = ()
    time_format: Literal["iso8601", "epoch_s", "epoch_ms", "rfc2822"] = "iso8601"
    order_key: Ways = ()
    varies: tuple[DataPath, ...] = ()


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


Shapes = Annotated[
    tuple[EventFields, ...],
    Field(min_length=1),
    BeforeValidator(_listed, json_schema_input_type=EventFields | tuple[EventFields, ...]),
]
"""The forms that requests of a platform have, or the only one: the first whose headers are there applies."""


class Handshake(Model):
    """A request that only asks whether somebody is there: recognised by all that is given here, answered without
    being an event.

    `headers` as in `EventFields`, `without` are headers that must not be there, `query` parameters of the address,
    `when` values of the JSON body (of the first element when it is a list), `form` the names that a form has,
    no other. `verified`: the signature is checked before it is answered. In `reply` and `reply_headers`
    `${request.<path>}` is a value of its body, `${header.<name>}` one of its headers and `${query.<name>}` a
    parameter. `tells`: one that is not verified is kept among the refused requests with this sentence, because the
    operator needs what is in it. `visit` is the path of an address that is called to confirm (only on `visit_hosts`,
    where `*` is one label).
    """

    name: Line
    method: Literal["GET", "POST", "OPTIONS", "HEAD"] = "POST"
    headers: dict[HeaderName, Line] = Field(default_factory=dict)
    without: tuple[HeaderName, ...] = ()
    query: tuple[Line, ...] = ()
    when: tuple[BodyMatch, ...] = ()
    form: tuple[Line, ...] = ()
    verified: Bool = True
    status: Annotated[Int, Field(ge=200, le=299)] = 200
    reply: Any = None
    reply_headers: dict[HeaderName, str] = Field(default_factory=dict)
    tells: Line | None = None
    visit: DataPath | None = None
    visit_hosts: tuple[Line, ...] = ()


class EventMap(Model):
    """Events of these types are records of `resource`; of several entries for one resource the first that applies
    is used.

    `record` is where the record is (the whole body without it; a list has several records). `encoded`: the value
    there is JSON text, or base64 of it. `when` are tests of the record. `fields` makes a record of its own:
    templates over `${record.…}` and `${parent.…}`, which is the whole document. `of` names the member of a family
    like `items.*`, by a path in the record. `op` is what the event says of the record. `partial`: the event has some
    fields of the record only.
    """

    types: tuple[EventPattern, ...] = Field(min_length=1)
    resource: ResourceName
    record: DataPath | None = None
    encoded: Literal["json", "base64"] | None = None
    when: tuple[BodyMatch, ...] = ()
    fields: dict[FieldName, Any] = Field(default_factory=dict)
    of: DataPath | None = None
    op: Literal["upsert", "delete"] = "upsert"
    partial: Bool = False


class Webhooks(Model):
    """Webhooks of a platform. Of `verify` the first scheme that is configured and that the request names decides;
    another one never rescues it.
    """

    methods: tuple[Literal["GET", "POST", "PUT"], ...] = ("POST",)
    max_body: Size = 1024 * 1024
    verify: tuple[Verify, ...] = Field(min_length=1)
    handshakes: tuple[Handshake, ...] = ()
    event: Shapes = (EventFields(),)
    keep_headers: tuple[HeaderName, ...] = ()
    """Headers that are stored with the event, besides those that are used here and the content type."""
    status: Annotated[Int, Field(ge=200, le=299)] = 200
    reply: Any = None
    """The body of the answer to an event: a text, or what is sent as JSON."""
    reply_headers: dict[HeaderName, str] = Field(default_factory=dict)
    map: tuple[EventMap, ...] = ()
    subscribe: Subscribes = ()
    missed: Lists = ()
