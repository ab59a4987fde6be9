"""What a manifest says of live feeds: Server-Sent Events and WebSockets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from platint_tui.manifest.fields import DataPath, HeaderName, Identifier, Line, Model, Positive, Scalar
from platint_tui.manifest.request import BodyMatch


class Live(Model):
    """A feed: where it is, and what is a record in its messages.

    Without `path` the base URL of the `endpoint` is the address itself. `records` is where records are in a message
    (an object or a list of them); without it each message is one record in the shape that messages of brokers have.
    `id` is what identifies a record and tells where to go on after it, and `happened` when it came about (ISO 8601,
    or seconds or milliseconds since 1970), both in the message, or in the record where `records` is given. Messages
    that pass one of the tests in `ignore` are no records. After `stale_after` without any sign of life the feed
    counts as lost.
    """

    endpoint: Identifier | None = None
    path: Annotated[str, Field(max_length=2048)] = ""
    query: dict[str, Scalar] = Field(default_factory=dict)
    headers: dict[HeaderName, str] = Field(default_factory=dict)
    records: DataPath | None = None
    id: DataPath | None = None
    happened: DataPath | None = None
    ignore: tuple[BodyMatch, ...] = ()
    stale_after: Positive = 120.0


class Events(Live):
    """Server-Sent Events. `names` are the events that are records; without any all are."""

    names: tuple[Line, ...] = ()


class SignIn(Model):
    """A credential that does not go into the handshake: it is put into `message`, the first one, at the path `at`,
    or offered as a subprotocol after `subprotocol`. `accepted` is how the answer looks that takes it; nothing else
    is sent before that.
    """

    message: dict[str, Any] | None = None
    at: DataPath | None = None
    subprotocol: Annotated[str, Field(max_length=100, pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]*$")] | None = None
    accepted: BodyMatch | None = None


class Resume(Model):
    """How a feed is asked for what follows the last id: in the query parameter `param`, or with `message` (sent
    after the others), where it is `${cursor.start}`.
    """

    param: Line | None = None
    message: Any = None


class Reply(Model):
    """What is answered to a message that passes `when` (a ping of the platform's own)."""

    when: BodyMatch
    send: Any


class Socket(Live):
    """A WebSocket. `subscribe` are the messages that are sent first; one that renders to nothing is left out.

    `form` is what messages are: JSON (a text that is none becomes a dead letter), text, or bytes (base64 in the
    record). `acknowledge` is sent for each message when it is stored (`${record.…}` is the message). Every
    `heartbeat` the other side is asked for a sign of life, with `ping` where it does not answer pings of the
    protocol. `taken` is how the answer looks that confirms a message that was sent, and `refused` one that refuses
    it; without them nobody knows whether it was taken.
    """

    subprotocols: tuple[Line, ...] = ()
    sign_in: SignIn | None = None
    subscribe: tuple[Any, ...] = ()
    form: Literal["json", "text", "base64"] = "json"
    acknowledge: Any = None
    ping: Any = None
    heartbeat: Positive = 20.0
    resume: Resume | None = None
    replies: tuple[Reply, ...] = ()
    taken: BodyMatch | None = None
    refused: BodyMatch | None = None
