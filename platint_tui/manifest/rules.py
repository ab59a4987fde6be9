"""What a manifest says of errors: the retry policy, and ordered rules from an answer to a class and an
action.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from platint_tui.core.backoff import RetryPolicy
from platint_tui.core.errors import ErrorClass
from platint_tui.manifest.fields import (
    Bool,
    DataPath,
    HeaderName,
    Int,
    Line,
    Model,
    Number,
    Positive,
    StatusList,
    Text,
)
from platint_tui.manifest.request import BodyMatch


class Policy(Model):
    """Retries: exponential with full jitter. Durations in seconds."""

    attempts: Annotated[Int, Field(ge=1, le=50)] = 5
    base: Positive = 1.0
    factor: Annotated[Number, Field(ge=1, le=10)] = 2.0
    cap: Positive = 60.0
    jitter: Literal["full"] = "full"
    budget: Positive = 600.0

    def retry_policy(self) -> RetryPolicy:
        """The same as the core's type."""
        return RetryPolicy(self.attempts, self.base, self.factor, self.cap, self.budget)


class HeaderMatch(Model):
    """A test of an answer header; without a value it must only be there."""

    name: HeaderName
    equals: str | None = None
    in_: tuple[str, ...] | None = Field(None, alias="in")
    contains: Annotated[str, Field(min_length=1)] | None = None


class When(Model):
    """When a rule applies. `status`, `body`, `and_body` and `header` must all hold; `network` and `code` are
    alternatives to them.

    `op` narrows the rule to answers to reads or to writes; `action: ignore` never counts for a write without
    `op: write`. `network: true` means that no usable answer came. `code` holds native codes of a database, or
    `class:XX` prefixes.
    """

    op: Literal["read", "write"] | None = None
    status: StatusList | None = None
    body: BodyMatch | None = None
    and_body: BodyMatch | None = None
    header: HeaderMatch | None = None
    network: Bool = False
    code: tuple[Line, ...] = ()


WaitFormat = Literal["retry_after", "seconds", "milliseconds", "clock", "epoch_s", "epoch_ms", "iso8601"]
"""`retry_after` is seconds or an HTTP date; `clock` a span like 00:00:17; `epoch_s`, `epoch_ms` and `iso8601`
are the moment itself."""


class Wait(Model):
    """Where the answer says how long to wait: a header, or a place in the body. `cap`: a longer wait parks the
    run instead of holding it. `seconds` is the wait where the platform says none.
    """

    header: HeaderName | None = None
    path: DataPath | None = None
    format: WaitFormat = "retry_after"
    cap: Positive = 600.0
    seconds: Positive | None = None


class CodeFrom(Model):
    """Where the answer names its error code, in the body or in a header; `after` and `before` cut it out of
    a longer text (`com.amazonaws.sqs#QueueDoesNotExist`: after `#`).
    """

    path: DataPath | None = None
    header: HeaderName | None = None
    after: Annotated[str, Field(min_length=1, max_length=8)] | None = None
    before: Annotated[str, Field(min_length=1, max_length=8)] | None = None


class Detail(Model):
    """What a person needs to know of this refusal, from the answer: the missing scope, the quota's name. It is
    shown as `<label> <value>` behind the message.
    """

    label: Line
    path: DataPath | None = None
    header: HeaderName | None = None


Action = Literal["retry", "wait", "refresh_auth", "dead_letter", "ignore", "fail_stream", "fail_run"]


class ErrorRule(Model):
    """What an error means and what is done; the first rule that applies decides. `then` is for spent
    retries. `ignore` means nothing there for a read, and as good as done for a write.
    """

    when: When
    class_: ErrorClass = Field(alias="class")
    action: Action
    wait: Wait | None = None
    then: Literal["dead_letter", "fail_stream", "fail_run"] | None = None
    hint: Text = ""
    alert: Literal["info", "warning", "critical"] | None = None
    code: CodeFrom | None = None
    detail: Detail | None = None


class Errors(Model):
    """Retry policy and the ordered rules."""

    policy: Policy = Field(default_factory=Policy)
    rules: tuple[ErrorRule, ...] = ()
