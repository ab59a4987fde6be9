"""The typed form of a connector manifest, version 1. The models are the source of truth; the JSON Schema is
made from them.

A key that is a Python keyword has an underscore behind it here: `class_`, `in_`, `from_`, `as_`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, Strict, WithJsonSchema

from platint_tui.core.errors import ErrorClass
from platint_tui.core.webhooks import Cause
from platint_tui.manifest.auth import (
    ApiKeyAuth,
    Assertion,
    Auth,
    AuthChoice,
    AuthWhen,
    AzureSasAuth,
    AzureSharedKeyAuth,
    BasicAuth,
    BearerAuth,
    Crumb,
    DriverAuth,
    FirstOfAuth,
    JwtExchangeAuth,
    NoAuth,
    OAuth1Auth,
    OAuth2Auth,
    OneAuth,
    ServiceBusSasAuth,
    SigV4Auth,
)
from platint_tui.manifest.discovery import (
    Describe,
    Discover,
    KeyFrom,
    Listing,
)
from platint_tui.manifest.fields import (
    Address,
    Bool,
    DataPath,
    HeaderName,
    Identifier,
    Int,
    Line,
    Model,
    Number,
    PlatformName,
    Positive,
    RateText,
    ResourceName,
    Scalar,
    SemVer,
    Size,
    Statuses,
    StatusList,
    Text,
)
from platint_tui.manifest.kinds import DRIVER_KINDS, OUTSIDE
from platint_tui.manifest.paging import (
    CursorPage,
    JobPage,
    LinkBodyPage,
    LinkHeaderPage,
    Locator,
    NoPage,
    NumberPage,
    OffsetPage,
    Page,
    TokenHeaderPage,
)
from platint_tui.manifest.problems import did_you_mean, shown
from platint_tui.manifest.request import (
    BodyMatch,
    Encoding,
    GraphQL,
    Request,
)
from platint_tui.manifest.resource import (
    Bulk,
    BulkResults,
    CsvForm,
    CursorSpec,
    Deletes,
    FieldSpec,
    Idempotency,
    One,
    Parent,
    Read,
    Resource,
    Write,
    WriteOp,
)
from platint_tui.manifest.rules import (
    Action,
    CodeFrom,
    Detail,
    ErrorRule,
    Errors,
    HeaderMatch,
    Policy,
    Wait,
    WaitFormat,
    When,
)
from platint_tui.manifest.webhooks import Webhooks

MANIFEST_VERSION = 1
DRIVERS = tuple(DRIVER_KINDS)


def _driver(value: str) -> str:
    if value in DRIVER_KINDS or (value.startswith(OUTSIDE) and value != OUTSIDE):
        return value
    suggestion = did_you_mean(value, DRIVER_KINDS)
    raise ValueError(f"{shown(value)} is no driver{suggestion or '; there is ' + ', '.join(DRIVER_KINDS)}")


DriverName = Annotated[
    str,
    Strict(),
    AfterValidator(_driver),
    WithJsonSchema({"anyOf": [{"enum": list(DRIVER_KINDS)}, {"type": "string", "pattern": f"^{OUTSIDE}.+"}]}),
]
"""A driver of this program, or `python:<entry point>` of one that an installed package brings."""


class FormField(Model):
    """A field of a profile. A `secret` goes to the vault and is asked for without echo. An `exact` address is called
    as it is: it may have a query, and keeps a slash at its end.
    """

    id: Identifier
    label: Line | None = None
    help: Text = ""
    type: Literal["string", "integer", "boolean", "url", "path"] = "string"
    secret: Bool = False
    required: Bool = False
    optional: Bool = False
    pattern: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    choices: tuple[Line, ...] = ()
    default: Scalar | None = None
    exact: Bool = False
    used_by: tuple[Line, ...] = ()
    create_url: Line | None = None

    @property
    def title(self) -> str:
        """The label, or the id in words."""
        return self.label or self.id.replace("_", " ").capitalize()


class Production(Model):
    """A profile whose `field` matches `pattern` is for production, whatever it says itself."""

    field: Identifier
    pattern: Annotated[str, Field(min_length=1, max_length=500)]


class ProfileForm(Model):
    """What an account needs to be configured."""

    fields: tuple[FormField, ...] = ()
    environments: tuple[Literal["production", "sandbox", "development"], ...] = (
        "production",
        "sandbox",
        "development",
    )
    production: Production | None = None

    def field(self, name: str) -> FormField | None:
        """The field called `name`."""
        return next((item for item in self.fields if item.id == name), None)


class Timeout(Model):
    """Deadlines in seconds; `total` is for one request with its body."""

    connect: Positive = 10.0
    read: Positive = 30.0
    total: Positive = 120.0


class Endpoint(Model):
    """Another address of the platform, with its own headers (on top of the transport's) and, where it differs,
    its own auth (merged over the manifest's when it is of the same type).
    """

    base_url: Address
    headers: dict[HeaderName, str] = Field(default_factory=dict)
    auth: Auth | None = None


class Transport(Model):
    """How the platform is reached. Databases need none of it but the timeouts and `ca_file`.

    Requests with the credential go to the origins of `base_url`, of the `endpoints` and token addresses, and to
    `allowed_hosts`; nowhere else.
    """

    base_url: Address = ()
    endpoints: dict[Identifier, Endpoint] = Field(default_factory=dict)
    headers: dict[HeaderName, str] = Field(default_factory=dict)
    timeout: Timeout = Field(default_factory=Timeout)
    allowed_hosts: tuple[Line, ...] = ()
    """More hosts, for next links and addresses in answers: literal, `*.example.com`, or `${profile.<field>}`
    for the origin of an address in the profile (see `hosts`)."""
    download_hosts: tuple[Line, ...] = ()
    """Hosts that results may be downloaded from, without the credential."""
    plain_http: Bool = False
    """http (without TLS) is allowed to every host: only for signatures that do not show the credential."""
    max_body: Size = 32 * 1024 * 1024
    """Bytes of one decoded answer."""
    ca_file: str | None = None
    proxy: str | None = None


class LimitMatch(Model):
    """The calls that a limit counts: all the tests given must hold."""

    op: Literal["read", "write", "any"] = "any"
    resources: tuple[ResourceName, ...] = ()
    endpoint: Identifier | None = None


class LimitHeaders(Model):
    """Answer headers by which the platform says more about the limit. `usage` is a header like `32/40`.

    When nothing remains, nothing is sent until `reset` (in the form `reset_format`).
    """

    retry_after: HeaderName = "retry-after"
    remaining: HeaderName | None = None
    reset: HeaderName | None = None
    reset_format: WaitFormat = "epoch_s"
    usage: HeaderName | None = None


class LimitBody(Model):
    """Where an answer's body tells what is left of a budget of points that fills up again: `available` points,
    `restore_rate` points a second (a path, or `per_second`), and what the call `cost`.

    The next call waits until what the last one of its kind cost is available.
    """

    available: DataPath
    cost: DataPath | None = None
    restore_rate: DataPath | None = None
    per_second: Annotated[Number, Field(gt=0)] | None = None
    reset: DataPath | None = None
    reset_format: WaitFormat = "iso8601"


class Limit(Model):
    """A limit that every process with the same credential shares."""

    id: Identifier
    rate: RateText | None = None
    burst: Annotated[Int, Field(ge=1)] | None = None
    concurrency: Annotated[Int, Field(ge=1, le=64)] | None = None
    scope: tuple[Literal["profile"], ...] = ("profile",)
    match: LimitMatch = Field(default_factory=LimitMatch)
    headers: LimitHeaders = Field(default_factory=LimitHeaders)
    body: LimitBody | None = None


class Expect(Model):
    """What answer a probe takes as good."""

    status: StatusList = Statuses(((200, 299),), ())
    body: BodyMatch | None = None


class Probe(Model):
    """One capability of an account: over http a request, for a database opening it or a query."""

    id: Identifier
    label: Line | None = None
    request: Request | None = None
    query: Line | None = None
    open: Literal[True] | None = None
    expect: Expect = Field(default_factory=Expect)
    optional: Bool = False
    shows: DataPath | None = None
    """A value of the answer to show beside the probe: whose account it is."""
    needs: Identifier | None = None
    """A profile field without which there is nothing to probe."""


class TestExpect(Model):
    """What a vector must give.

    Of a webhook: whether it is `accepted` and, where not, the `cause`; the `handshake` that it is; how many `events`
    it has, and `id` and `type` of the first; the `resources` that they are records of.
    """

    __test__ = False

    records: Annotated[Int, Field(ge=0)] | None = None
    requests: Annotated[Int, Field(ge=1)] | None = None
    written: Annotated[Int, Field(ge=0)] | None = None
    streams: Annotated[Int, Field(ge=0)] | None = None
    class_: ErrorClass | None = Field(None, alias="class")
    action: Action | None = None
    code: Line | None = None
    accepted: Bool | None = None
    cause: Cause | None = None
    handshake: Line | None = None
    status: Annotated[Int, Field(ge=200, le=299)] | None = None
    events: Annotated[Int, Field(ge=1)] | None = None
    id: Line | None = None
    type: Line | None = None
    resources: tuple[ResourceName, ...] | None = None


class TestCase(Model):
    """A test that ships with the manifest: a recorded exchange, a webhook request, or the native code of a
    database, and what it means.

    `exchange` is a file of `_vectors/<platform>/`.
    """

    __test__ = False

    name: Line
    kind: Literal["read", "error", "write", "check", "discover", "webhook"]
    resource: ResourceName | None = None
    exchange: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*\.yaml$")] | None = None
    code: Line | None = None
    operation: Literal["create", "upsert", "update", "delete"] | None = None
    rows: tuple[dict[str, Any], ...] = ()
    """What a write test writes."""
    expect: TestExpect


class Connector(Model):
    """A whole manifest. `resources` are merged with `defaults`, which stay as written for `explain`."""

    manifest: Literal[1]
    extends: PlatformName | None = None
    """A shared part, `_shared/<name>.yaml` beside the manifest, that this one is merged over."""
    platform: PlatformName
    name: Line
    version: SemVer
    category: Literal[
        "cloud", "devops", "commerce", "payments", "communication", "crm", "database", "queue", "other"
    ]
    docs: Line
    description: Text = ""
    driver: DriverName
    profile: ProfileForm
    auth: Auth
    transport: Transport = Field(default_factory=Transport)
    limits: tuple[Limit, ...] = ()
    errors: Errors = Field(default_factory=Errors)
    check: tuple[Probe, ...] = Field(min_length=1)
    discover: Discover = Field(default_factory=lambda: Discover(type="static"))
    defaults: dict[str, Any] = Field(default_factory=dict)
    resources: dict[ResourceName, Resource] = Field(min_length=1)
    webhooks: Webhooks | None = None
    tests: tuple[TestCase, ...] = ()


__all__ = [
    "Action",
    "ApiKeyAuth",
    "Assertion",
    "Auth",
    "AuthChoice",
    "AuthWhen",
    "AzureSasAuth",
    "AzureSharedKeyAuth",
    "BasicAuth",
    "BearerAuth",
    "BodyMatch",
    "Bulk",
    "BulkResults",
    "CodeFrom",
    "Connector",
    "Crumb",
    "CsvForm",
    "CursorPage",
    "CursorSpec",
    "Deletes",
    "Describe",
    "Detail",
    "Discover",
    "DriverAuth",
    "Encoding",
    "Endpoint",
    "ErrorRule",
    "Errors",
    "Expect",
    "FieldSpec",
    "FirstOfAuth",
    "FormField",
    "GraphQL",
    "HeaderMatch",
    "Idempotency",
    "JobPage",
    "JwtExchangeAuth",
    "KeyFrom",
    "Limit",
    "LimitBody",
    "LimitHeaders",
    "LimitMatch",
    "LinkBodyPage",
    "LinkHeaderPage",
    "Listing",
    "Locator",
    "NoAuth",
    "NoPage",
    "NumberPage",
    "OAuth1Auth",
    "OAuth2Auth",
    "OffsetPage",
    "One",
    "OneAuth",
    "Page",
    "Parent",
    "Policy",
    "Probe",
    "Production",
    "ProfileForm",
    "Read",
    "Request",
    "Resource",
    "ServiceBusSasAuth",
    "SigV4Auth",
    "Statuses",
    "TestCase",
    "TestExpect",
    "Timeout",
    "TokenHeaderPage",
    "Transport",
    "Wait",
    "WaitFormat",
    "Webhooks",
    "When",
    "Write",
    "WriteOp",
]
