"""The typed form of a connector manifest, version 1. The models are the source of truth; the JSON Schema is
made from them.

A key that is a Python keyword has an underscore behind it here: `class_`, `in_`, `from_`, `as_`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from platint_tui.core.errors import ErrorClass
from platint_tui.manifest.fields import (
    Bool,
    HeaderName,
    Identifier,
    Int,
    Line,
    Model,
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
from platint_tui.manifest.resource import (
    CursorPage,
    CursorSpec,
    Deletes,
    FieldSpec,
    Idempotency,
    LinkBodyPage,
    LinkHeaderPage,
    NoPage,
    NumberPage,
    OffsetPage,
    Page,
    Parent,
    Read,
    Request,
    Resource,
    Write,
    WriteOp,
)
from platint_tui.manifest.rules import (
    Action,
    BodyMatch,
    CodeFrom,
    ErrorRule,
    Errors,
    HeaderMatch,
    Policy,
    Wait,
    When,
)

MANIFEST_VERSION = 1
DRIVERS = ("http", "sqlite", "postgresql")


class FormField(Model):
    """A field of a profile. A `secret` goes to the vault and is asked for without echo."""

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


class NoAuth(Model):
    """The platform asks for nothing."""

    type: Literal["none"]


class BearerAuth(Model):
    """`Authorization: Bearer <secret>`."""

    type: Literal["bearer"]
    secret: Identifier


class BasicAuth(Model):
    """HTTP Basic from two profile fields; a missing `password` is sent empty."""

    type: Literal["basic"]
    username: Identifier
    password: Identifier | None = None


class ApiKeyAuth(Model):
    """The secret in a header or query parameter called `name`, after `prefix`."""

    type: Literal["api_key"]
    secret: Identifier
    in_: Literal["header", "query"] = Field("header", alias="in")
    name: Line
    prefix: Annotated[str, Field(max_length=32, pattern=r"^[\x20-\x7e]*$")] = ""


class OAuth2Auth(Model):
    """OAuth 2 client credentials. `expiry_margin` is how long before its end a token is renewed."""

    type: Literal["oauth2"]
    grant: Literal["client_credentials"]
    token_url: Annotated[str, Field(min_length=1, max_length=2048)]
    client_id: Identifier
    client_secret: Identifier
    scopes: tuple[Line, ...] = ()
    client_auth: Literal["basic", "body"] = "basic"
    expiry_margin: Positive = 60.0


class DriverAuth(Model):
    """The driver signs in with the profile's fields (databases)."""

    type: Literal["driver"]


Auth = Annotated[
    NoAuth | BearerAuth | BasicAuth | ApiKeyAuth | OAuth2Auth | DriverAuth, Field(discriminator="type")
]


class Timeout(Model):
    """Deadlines in seconds; `total` is for one request with its body."""

    connect: Positive = 10.0
    read: Positive = 30.0
    total: Positive = 120.0


class Transport(Model):
    """How the platform is reached. Databases need none of it but the timeouts and `ca_file`."""

    base_url: Annotated[str, Field(max_length=2048)] = ""
    headers: dict[HeaderName, str] = Field(default_factory=dict)
    timeout: Timeout = Field(default_factory=Timeout)
    allowed_hosts: tuple[Line, ...] = ()
    """Literal hosts, or `${profile.<field>}` for the origin of an address in the profile (see `hosts`)."""
    max_body: Size = 32 * 1024 * 1024
    """Bytes of one decoded answer."""
    ca_file: str | None = None
    proxy: str | None = None


class LimitMatch(Model):
    """The calls that a limit counts."""

    op: Literal["read", "write", "any"] = "any"


class LimitHeaders(Model):
    """Answer headers by which the platform says more about the limit."""

    retry_after: HeaderName = "retry-after"


class Limit(Model):
    """A limit that every process with the same credential shares."""

    id: Identifier
    rate: RateText | None = None
    burst: Annotated[Int, Field(ge=1)] | None = None
    concurrency: Annotated[Int, Field(ge=1, le=64)] | None = None
    scope: tuple[Literal["profile"], ...] = ("profile",)
    match: LimitMatch = Field(default_factory=LimitMatch)
    headers: LimitHeaders = Field(default_factory=LimitHeaders)


class ProbeRequest(Model):
    """The request of a probe."""

    method: Literal["GET", "POST"] = "GET"
    path: Annotated[str, Field(min_length=1, max_length=2048)]
    query: dict[str, Scalar] = Field(default_factory=dict)
    headers: dict[HeaderName, str] = Field(default_factory=dict)
    body: Any = None


class Expect(Model):
    """What answer a probe takes as good."""

    status: StatusList = Statuses(((200, 299),), ())


class Probe(Model):
    """One capability of an account: over http a request, for a database opening it or a query."""

    id: Identifier
    label: Line | None = None
    request: ProbeRequest | None = None
    query: Line | None = None
    open: Literal[True] | None = None
    expect: Expect = Field(default_factory=Expect)
    optional: Bool = False


class Discover(Model):
    """Where the catalogue comes from: this file, or the platform itself."""

    type: Literal["static", "introspect"]


class TestExpect(Model):
    """What a vector must give."""

    __test__ = False

    records: Annotated[Int, Field(ge=0)] | None = None
    requests: Annotated[Int, Field(ge=1)] | None = None
    class_: ErrorClass | None = Field(None, alias="class")
    action: Action | None = None
    code: Line | None = None


class TestCase(Model):
    """A test that ships with the manifest: a recorded exchange, or the native code of a database, and what
    it means.

    `exchange` is a file of `_vectors/<platform>/`.
    """

    __test__ = False

    name: Line
    kind: Literal["read", "error"]
    resource: ResourceName | None = None
    exchange: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*\.yaml$")] | None = None
    code: Line | None = None
    expect: TestExpect


class Connector(Model):
    """A whole manifest. `resources` are merged with `defaults`, which stay as written for `explain`."""

    manifest: Literal[1]
    platform: PlatformName
    name: Line
    version: SemVer
    category: Literal[
        "cloud", "devops", "commerce", "payments", "communication", "crm", "database", "queue", "other"
    ]
    docs: Line
    description: Text = ""
    driver: Literal["http", "sqlite", "postgresql"]
    profile: ProfileForm
    auth: Auth
    transport: Transport = Field(default_factory=Transport)
    limits: tuple[Limit, ...] = ()
    errors: Errors = Field(default_factory=Errors)
    check: tuple[Probe, ...] = Field(min_length=1)
    discover: Discover = Field(default_factory=lambda: Discover(type="static"))
    defaults: dict[str, Any] = Field(default_factory=dict)
    resources: dict[ResourceName, Resource] = Field(min_length=1)
    tests: tuple[TestCase, ...] = ()


__all__ = [
    "Action",
    "ApiKeyAuth",
    "Auth",
    "BasicAuth",
    "BearerAuth",
    "BodyMatch",
    "CodeFrom",
    "Connector",
    "CursorPage",
    "CursorSpec",
    "Deletes",
    "Discover",
    "DriverAuth",
    "ErrorRule",
    "Errors",
    "Expect",
    "FieldSpec",
    "FormField",
    "HeaderMatch",
    "Idempotency",
    "Limit",
    "LimitHeaders",
    "LimitMatch",
    "LinkBodyPage",
    "LinkHeaderPage",
    "NoAuth",
    "NoPage",
    "NumberPage",
    "OAuth2Auth",
    "OffsetPage",
    "Page",
    "Parent",
    "Policy",
    "Probe",
    "ProbeRequest",
    "Production",
    "ProfileForm",
    "Read",
    "Request",
    "Resource",
    "Statuses",
    "TestCase",
    "TestExpect",
    "Timeout",
    "Transport",
    "Wait",
    "When",
    "Write",
    "WriteOp",
]
