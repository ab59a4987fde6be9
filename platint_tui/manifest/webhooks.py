"""What a manifest says of webhooks: how a request is verified, what events it has, and what they are records of."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from platint_tui.manifest.fields import (
    Bool,
    DataPath,
    HeaderName,
    Identifier,
    Int,
    Line,
    Model,
    Positive,
    ResourceName,
    Size,
)
from platint_tui.manifest.paging import Page
from platint_tui.manifest.request import BodyMatch, Request
from platint_tui.manifest.rules import WaitFormat
from platint_tui.manifest.verifying import Verify

EventPattern = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x20\x7f]{1,128}$")]
"""An event type, with `*` for any text: `customer.*`."""

Source = Annotated[
    str, StringConstraints(pattern=r"^(?:header|body|query|form|batch):[^\x00-\x1f\x7f]{1,256}$")
]
"""Where a value is in a request: `header:x-github-delivery`, `body:data.object.id`, `query:id`, `form:MessageSid`;
`batch:` is a path in the whole body where a request has several events."""


class EventFields(Model):
    """Where a request says what its event is.

    `many`: the path of the list of events in the body (`.` when the body is the list); then `body:` is looked for
    in the element. `id` are parts that identify the event together (joined by `:`); the first alternative of a
    part that is there is used. Without `id`, or where a part is missing, the hash of the bytes identifies it.
    `order_key` is the object whose events must keep their order.
    """

    many: Line | None = None
    id: tuple[Source, ...] = ()
    type: tuple[Source, ...] = ()
    type_join: Annotated[str, Field(max_length=3)] = "."
    time: Source | None = None
    time_format: WaitFormat | Literal["epoch_ms", "rfc2822"] = "iso8601"
    order_key: Source | None = None


class Handshake(Model):
    """A request that only asks whether somebody is there: recognised by `when`, answered without being an event.

    `verified`: the signature is checked before it is answered. In `body` and `headers` of the reply
    `${request.<path>}` is a value of its body, `${header.<name>}` one of its headers. `visit` is the path of an
    address that is called to confirm (only where `visit_hosts` allow it).
    """

    name: Line
    method: Literal["GET", "POST", "OPTIONS", "HEAD"] = "POST"
    headers: dict[HeaderName, Line] = Field(default_factory=dict)
    when: tuple[BodyMatch, ...] = ()
    form: tuple[Line, ...] = ()
    verified: Bool = True
    status: Annotated[Int, Field(ge=200, le=299)] = 200
    reply: Any = None
    reply_headers: dict[HeaderName, str] = Field(default_factory=dict)
    visit: DataPath | None = None
    visit_hosts: tuple[Line, ...] = ()


class EventMap(Model):
    """Events of these types are records of `resource`; `record` is where the record is (the whole body without it).

    `encoded`: the value at `record` is JSON text, or base64 of it. `op` is what the event says of the record.
    `partial`: the event has some fields of the record only, so `fetch` reads it whole where the resource can be
    read by id.
    """

    types: tuple[EventPattern, ...] = Field(min_length=1)
    resource: ResourceName
    record: DataPath | None = None
    encoded: Literal["json", "base64"] | None = None
    op: Literal["upsert", "delete"] = "upsert"
    partial: Bool = False


class Subscribe(Model):
    """How webhooks are registered at the platform: requests, rendered with `${subscription.url}`,
    `${subscription.types}`, `${subscription.secret}`, `${subscription.id}` and `${subscription.<scope>}`.

    `scope` are values that the operator must give (a repository). `secret_field` is the profile field for the
    signing secret; `secret_from` is where the answer has it, without it the program makes one and sends it.
    `by_hand` are the sentences for a platform without such an API.
    """

    by_hand: tuple[Annotated[str, Field(max_length=500)], ...] = ()
    scope: tuple[Identifier, ...] = ()
    types: tuple[Line, ...] = ()
    create: Request | None = None
    id_from: DataPath | None = None
    secret_field: Identifier | None = None
    secret_from: DataPath | None = None
    made_as: Literal["hex", "whsec"] = "hex"
    list: Request | None = None
    items: DataPath | None = None
    item_id: DataPath = "id"
    item_url: DataPath | None = None
    item_types: DataPath | None = None
    item_active: BodyMatch | None = None
    pause: Request | None = None
    resume: Request | None = None
    remove: Request | None = None
    expires_after: Positive | None = None
    renew: Request | None = None


class Missed(Model):
    """How the platform tells which events it sent, or could not deliver, so that they can be compared with ours.

    `event_id` is the id that a delivery of it would have (as `event.id` makes it), `body` where the event itself
    is in an item, so that it can be taken from there; without it `redeliver` asks the platform to send it again.
    `keeps` is how long the platform keeps them.
    """

    request: Request
    per: Literal["profile", "subscription"] = "profile"
    items: DataPath | None = None
    page: Page | None = None
    event_id: DataPath
    time: DataPath | None = None
    time_format: WaitFormat | Literal["epoch_ms"] = "iso8601"
    type: DataPath | None = None
    failed: BodyMatch | None = None
    delivery_id: DataPath | None = None
    body: DataPath | None = None
    redeliver: Request | None = None
    keeps: Positive | None = None


class Webhooks(Model):
    """Webhooks of a platform. Of `verify` the first scheme that is configured and that the request names decides;
    another one never rescues it.
    """

    methods: tuple[Literal["GET", "POST", "PUT"], ...] = ("POST",)
    max_body: Size = 1024 * 1024
    verify: tuple[Verify, ...] = Field(min_length=1)
    handshakes: tuple[Handshake, ...] = ()
    event: EventFields = Field(default_factory=EventFields)
    keep_headers: tuple[HeaderName, ...] = ()
    """Headers that are stored with the event, besides those that are used here and the content type."""
    status: Annotated[Int, Field(ge=200, le=299)] = 200
    reply: Any = None
    map: tuple[EventMap, ...] = ()
    subscribe: Subscribe | None = None
    missed: Missed | None = None
