"""What a manifest says of one request."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from platint_tui.manifest.fields import Bool, DataPath, HeaderName, Identifier, Int, Line, Model, Scalar

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]
Encoding = Literal["json", "form", "ndjson", "multipart", "xml", "text"]
"""`ndjson` writes each element of the body (a list) on a line; `text` sends the rendered text as it is."""


class GraphQL(Model):
    """A GraphQL operation. It is sent as the JSON body, with `variables` rendered like a body.

    An answer with `errors` and no rule for them is an error, also with status 200.
    """

    document: Annotated[str, Field(min_length=1, max_length=20_000)]
    variables: dict[Line, Any] = Field(default_factory=dict)


class Request(Model):
    """A request: templates in path, query, headers and body. The path follows the base URL of `endpoint` (one
    of `transport.endpoints`; without it, `transport.base_url`); it is empty where a profile field holds the whole
    address.

    A `content-type` in `headers` wins over that of `encode`. `weight` is what the call costs in the limits.
    """

    endpoint: Identifier | None = None
    method: Method = "GET"
    path: Annotated[str, Field(max_length=2048)]
    query: dict[str, Scalar] = Field(default_factory=dict)
    headers: dict[HeaderName, str] = Field(default_factory=dict)
    encode: Encoding = "json"
    body: Any = None
    graphql: GraphQL | None = None
    weight: Annotated[Int, Field(ge=1, le=1000)] = 1


class BodyMatch(Model):
    """A test of the value at `path` in a document; all the tests given must hold. `exists: false` says that
    there must be none (null counts as none).
    """

    path: DataPath
    equals: Scalar | None = None
    in_: tuple[Scalar, ...] | None = Field(None, alias="in")
    contains: Annotated[str, Field(min_length=1)] | None = None
    exists: Bool | None = None
