"""What a manifest says of pages: how one answer leads to the next."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from platint_tui.manifest.fields import Bool, DataPath, HeaderName, Int, Line, Model, Positive, Scalar
from platint_tui.manifest.request import Request

Place = Literal["query", "body", "header"]
"""Where a paging parameter goes; in a body its name is a dotted path (`variables.after`)."""


class _Page(Model):
    stop_on_empty: Bool = False
    """An empty page ends the scan whatever else the answer says."""
    max_pages: Annotated[Int, Field(ge=1)] | None = None
    """More pages than this in one scan is an error."""
    cap: Annotated[Int, Field(ge=1)] | None = None
    """The platform gives no more records than this for one query: an ascending scan with a filter on the
    platform's side then asks anew, from the greatest cursor value seen."""
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
    """The next page is the address at `path` in the answer, absolute or relative; absent, null or empty ends
    the scan. With `rel`, `path` is a list of links and the address is the member `href` of the one whose
    member `rel` has that value.
    """

    type: Literal["link_body"]
    path: DataPath
    rel: Line | None = None
    href: DataPath = "href"


class CursorPage(_Page):
    """The next page is asked for with a value `from` the body (or `last_record.<field>`), sent as `param`.

    `more` names the flag that says whether another page follows, `done` one that says the opposite; without
    them an absent, null or empty value ends the scan, and so does a page shorter than `size`. In a body the
    value may be any JSON.
    """

    type: Literal["cursor"]
    from_: DataPath = Field(alias="from")
    param: Line
    in_: Place = Field("query", alias="in")
    more: DataPath | None = None
    done: DataPath | None = None
    size: Annotated[Int, Field(ge=1)] | None = None


class TokenHeaderPage(_Page):
    """The next page is asked for with the value of the answer header `name`; absent, empty or one of `end`
    ends the scan.
    """

    type: Literal["token_header"]
    name: HeaderName
    param: Line
    in_: Place = Field("query", alias="in")
    end: tuple[Line, ...] = ()


class OffsetPage(_Page):
    """Pages by the number of records to skip; goes on until a page is empty, or until `total` is reached and
    the page was short. `more` names a flag that says whether another page follows. `short_ends`: a page with
    fewer records than `size` is the last one.

    With `param: null` the request's templates place it: `${page.offset}` and `${page.end}` (offset + size).
    """

    type: Literal["offset"]
    param: Line | None = "offset"
    in_: Place = Field("query", alias="in")
    limit_param: Line | None = "limit"
    size: Annotated[Int, Field(ge=1)]
    total: DataPath | None = None
    more: DataPath | None = None
    done: DataPath | None = None
    short_ends: Bool = False
    """A page with less than `size` is the last one: for ranges of a list, where nothing can be left out."""


class NumberPage(_Page):
    """Pages by number; goes on until a page is empty, or until `total_pages` are read and the last was short.
    `more` names a flag that says whether another page follows.
    """

    type: Literal["page"]
    param: Line = "page"
    in_: Place = Field("query", alias="in")
    size_param: Line | None = None
    size: Annotated[Int, Field(ge=1)]
    start: Annotated[Int, Field(ge=0)] = 1
    total_pages: DataPath | None = None
    more: DataPath | None = None


class Locator(Model):
    """Where the results of a job name their next part: the answer header, and the query parameter to ask for
    it; `end` are values that mean that there is none.
    """

    header: HeaderName
    param: Line
    end: tuple[Line, ...] = ()


class JobPage(_Page):
    """The read request creates a job on the platform; when it is done, its results are downloaded.

    `id` is where the answer names the job. `poll` (templates may use `${job.id}`) is asked every `every` until
    `status` is one of `done`; one of `failed`, or `timeout`, is an error. The results come from the `results`
    request, in parts by `locator`, or from the addresses at `url` in the poll answer (one or a list; null:
    no records), which get the credential only on hosts that get it otherwise. `abort` is sent when the scan is
    given up.
    """

    type: Literal["async_job"]
    id: DataPath
    poll: Request
    status: DataPath
    done: tuple[Scalar, ...] = Field(min_length=1)
    failed: tuple[Scalar, ...] = ()
    every: Positive = 5.0
    timeout: Positive = 3600.0
    results: Request | None = None
    locator: Locator | None = None
    url: DataPath | None = None
    abort: Request | None = None


Page = Annotated[
    NoPage | LinkHeaderPage | LinkBodyPage | CursorPage | TokenHeaderPage | OffsetPage | NumberPage | JobPage,
    Field(discriminator="type"),
]
