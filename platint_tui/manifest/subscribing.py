"""What a manifest says of registering webhooks at a platform, and of events that the platform sent and we have not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from platint_tui.core.errors import ConfigError, UsageError
from platint_tui.manifest.fields import (
    Bool,
    DataPath,
    HeaderName,
    Identifier,
    Line,
    Model,
    Positive,
    Scalar,
)
from platint_tui.manifest.paging import NoPage, Page
from platint_tui.manifest.request import BodyMatch, Request

Sentence = Annotated[str, StringConstraints(min_length=1, max_length=500)]
ROOT = "subscription"
"""What the templates of these requests look up: `name`, `url`, `scheme` (of the url), `id`, `id_number` (as a number),
`secret`, `types` (a list), `type` (the first one), `flags` (an object of the types, each true), `named` (a list of
objects with a `name`), and what the operator gave as scope."""


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


class Registered(Model):
    """Where the platform has its webhooks: `request` and `page` as in reading, each of `items` one webhook. Without
    `items` the answer itself is the one webhook that was asked for.

    `types` is a text or a list; with `type` a list of objects, or an object whose members are true. `active` and
    `confirmed` are tests of an item. `optional`: an answer without `items` has none. Without `url` the platform
    does not say which address a webhook calls.
    """

    request: Request
    items: Literal[""] | DataPath | None = None
    format: Literal["json", "xml"] = "json"
    page: Page = Field(default_factory=lambda: NoPage(type="none"))
    optional: Bool = False
    id: DataPath = "id"
    url: DataPath | None = None
    types: DataPath | None = None
    type: DataPath | None = None
    active: BodyMatch | None = None
    confirmed: BodyMatch | None = None
    expires: DataPath | None = None


class Subscribe(Model):
    """One way to register webhooks at the platform: requests that look up `${subscription.…}`.

    It is used when the operator gave all of `scope` (what the webhook is for: a repository) and nothing else than
    that and `options`, which have defaults. `types` are registered when the operator names none (not `typed`: the
    platform knows no types), `each` makes one webhook for every type. `prepare` is sent before. `id_from` is where
    the answer has the webhook's id, `id_is` what it is otherwise; `error_from` are paths that hold a message when a
    success is none. `replaces`: there is one address only, and making a webhook takes the place of the one before
    (which `address` tells, or the list), so that somebody must say that it may.

    `secret_field` is the profile field of the signing secret: from `secret_from` in the answer (of `secret_request`,
    sent afterwards or `secret_first`, where there is one), otherwise the program makes it and sends it as
    `${subscription.secret}`. `keep` are further profile fields that the answer fills; before it is made, `fills` get
    a value of the scope, and `adds` have one added to their list with spaces between. `expires_from` is where answers
    say when it ends, `expires_after` how long it lives otherwise. `by_hand` are the sentences for a platform without
    such an API, `note` is said after it was made.
    """

    by_hand: tuple[Sentence, ...] = ()
    scope: tuple[Identifier, ...] = ()
    options: dict[Identifier, Annotated[str, Field(max_length=500)]] = Field(default_factory=dict)
    types: tuple[Line, ...] = ()
    each: Bool = False
    typed: Bool = True
    replaces: Bool = False
    address: Registered | None = None
    prepare: Request | None = None
    create: Request | None = None
    id_from: DataPath | None = None
    id_is: Line | None = None
    error_from: tuple[DataPath, ...] = ()
    secret_field: Identifier | None = None
    secret_from: DataPath | None = None
    secret_request: Request | None = None
    secret_first: Bool = False
    made_as: Literal["hex", "whsec"] = "hex"
    keep: dict[Identifier, DataPath] = Field(default_factory=dict)
    fills: dict[Identifier, Identifier] = Field(default_factory=dict)
    adds: dict[Identifier, Identifier] = Field(default_factory=dict)
    list: Registered | None = None
    pause: Request | None = None
    resume: Request | None = None
    remove: Request | None = None
    renew: Request | None = None
    expires_from: DataPath | None = None
    expires_after: Positive | None = None
    note: Sentence | None = None

    @model_validator(mode="after")
    def _whole(self) -> Subscribe:
        if bool(self.by_hand) == (self.create is not None):
            raise ValueError("either `create` or `by_hand` says how a webhook is registered")
        if self.create is not None and (self.list is None or self.remove is None):
            raise ValueError("a webhook that is made must be found again and removed: `list` and `remove`")
        if self.create is not None and (self.id_from is None) == (self.id_is is None):
            raise ValueError("either `id_from` or `id_is` says what the webhook's id is")
        if self.secret_from is not None and self.secret_field is None:
            raise ValueError("`secret_from` needs `secret_field`")
        if self.secret_first and (self.secret_from is None or self.secret_request is None):
            raise ValueError("`secret_first` needs `secret_request` and `secret_from`")
        return self


class Missed(Model):
    """How the platform tells which events it sent, or could not deliver, so that they can be compared with ours.

    It is used for the subscriptions whose scope has all of `scope`; `per` says whether it is asked once for the
    profile or for each of them. The request may look up `${cursor.start}` and `${cursor.end}` (epoch milliseconds),
    and `${subscription.…}`. `lists`: deliveries to webhooks, or all events there are, of which only the types of the
    subscriptions were sent; without a subscription that is known, `only_failed` are the parameters that ask for
    those that the platform could not deliver. `newest_first`: reading ends at the first item that is too old.

    `event_id` is the id that a delivery has here (as `event.id` makes it), `type` one path or several that are
    joined, `delivered` a test that says that it was taken. `body` is where the event itself is in an item (`.` is the
    item), as JSON or as text, which with `headers` (templates over `${item.…}`) is taken as a request from there;
    otherwise `redeliver` (`${item.…}` too) asks the platform to send it again. `keeps` is how long the platform keeps
    them. `none` says why a platform has no such list.
    """

    none: Sentence | None = None
    scope: tuple[Identifier, ...] = ()
    request: Request | None = None
    per: Literal["profile", "subscription"] = "profile"
    lists: Literal["deliveries", "events"] = "deliveries"
    only_failed: dict[Line, Scalar] = Field(default_factory=dict)
    newest_first: Bool = False
    items: Literal[""] | DataPath = ""
    page: Page = Field(default_factory=lambda: NoPage(type="none"))
    optional: Bool = False
    event_id: DataPath = "id"
    time: DataPath | None = None
    time_format: Literal["iso8601", "epoch_s", "epoch_ms"] = "iso8601"
    type: Annotated[tuple[DataPath, ...], BeforeValidator(_listed)] = ()
    delivered: BodyMatch | None = None
    delivery_id: DataPath | None = None
    body: Literal["."] | DataPath | None = None
    headers: dict[HeaderName, str] = Field(default_factory=dict)
    redeliver: Request | None = None
    keeps: Positive | None = None

    @model_validator(mode="after")
    def _whole(self) -> Missed:
        if (self.none is None) == (self.request is None):
            raise ValueError("either `request` asks for the list, or `none` says why there is none")
        if self.request is not None and self.body is None and self.redeliver is None:
            raise ValueError("either `body` has the event itself, or `redeliver` asks for it")
        return self


Subscribes = Annotated[
    tuple[Subscribe, ...],
    BeforeValidator(_listed, json_schema_input_type=Subscribe | tuple[Subscribe, ...]),
]
"""The ways to register a webhook, or the only one."""
Lists = Annotated[
    tuple[Missed, ...], BeforeValidator(_listed, json_schema_input_type=Missed | tuple[Missed, ...])
]
"""The lists of what was sent, or the only one."""
Way = TypeVar("Way", Subscribe, Missed)


def subscribe_way(ways: Sequence[Subscribe], scope: Mapping[str, str], name: str) -> Subscribe:
    """The way for this scope. Raises ConfigError when the platform `name` has none, UsageError for a scope that
    fits none."""
    if not ways:
        raise ConfigError(
            f"How webhooks are registered at {name} is not known.",
            hint="Register the address there, and enter the signing secret with `platint-tui profiles edit`.",
            code="no_subscribe",
        )
    for way in ways:
        allowed = {*way.scope, *way.options}
        if all(scope.get(item) for item in way.scope) and allowed.issuperset(scope):
            return way
    forms = " or ".join(_form(way) for way in ways)
    raise UsageError(f"A webhook at {name} is for {forms}.", hint="Give it with --scope NAME=VALUE.")


def missed_way(ways: Sequence[Missed], scope: Mapping[str, str]) -> Missed | None:
    """The list that has the events of a subscription with this scope, None when there is none."""
    return next((way for way in ways if way.request is not None and scope.keys() >= set(way.scope)), None)


def can_compare(ways: Sequence[Missed]) -> bool:
    """Whether the platform has a list of what it sent, as far as its connector knows."""
    return any(way.request is not None for way in ways)


def why_not(ways: Sequence[Missed], name: str) -> str:
    """Why nothing can be compared with the platform called `name`, as a sentence."""
    said = next((way.none for way in ways if way.none), None)
    return said or f"The connector of {name} names no list of what was sent."


def _form(way: Subscribe) -> str:
    parts = [f"--scope {item}=…" for item in way.scope]
    parts += [f"[--scope {item}=…]" for item in way.options]
    return " ".join(parts) or "the whole account, without a scope"
