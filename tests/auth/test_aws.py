"""AWS accounts over a real connection: keys, roles, and the platform's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl

import pytest

from platint_tui.core.errors import ConfigError, CredentialError, PlatintError, SystemicError, TransientError
from tests.auth.support import Open, read, refused
from tests.http.hostile import Hostile, Seen, answer

PAGE = {"data": [{"id": 1}], "next": None}
CANARY = "canary-secret-0123456789"
XML = {"Content-Type": "text/xml"}
ROLE = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>ASIA{number}</AccessKeyId><SecretAccessKey>role-canary-secret</SecretAccessKey>
<SessionToken>role-canary-session</SessionToken><Expiration>{end}</Expiration>
</Credentials></AssumeRoleResult></AssumeRoleResponse>"""
REFUSED = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>AccessDenied</Code><Message>not yours</Message></Error></ErrorResponse>"""

AWS = {
    "type": "aws_sigv4",
    "service": "s3",
    "region": "eu-west-1",
    "access_key": "account",
    "secret_key": "secret",
    "role_arn": "role",
    "external_id": "external",
    "sts_url": "${profile.base_url}/sts",
}
FIELDS = {"account": "AKIDEXAMPLE"}
WITH_ROLE = {**FIELDS, "role": "arn:aws:iam::1:role/r", "external": "ex-1"}


def credential(seen: Seen) -> str:
    return seen.headers["authorization"].partition("Credential=")[2].partition("/")[0]


async def test_aws_signs_each_request(open_: Open, hostile: Hostile) -> None:
    hostile.json("/items", PAGE)
    await read(open_(AWS, {"secret": CANARY}, FIELDS))
    seen = hostile.seen[0]
    assert credential(seen) == "AKIDEXAMPLE" and "x-amz-content-sha256" in seen.headers
    assert "/eu-west-1/s3/aws4_request" in seen.headers["authorization"]
    assert CANARY not in str(seen.headers)


async def test_aws_presigned(open_: Open, hostile: Hostile) -> None:
    found = open_({**AWS, "in": "query"}, {"secret": CANARY}, FIELDS)
    hostile.json("/items", PAGE)
    await read(found)
    assert {"X-Amz-Signature", "X-Amz-Credential"} <= set(hostile.seen[0].query)
    assert "authorization" not in hostile.seen[0].headers


def roles(hostile: Hostile, *, minutes: float = 60) -> list[dict[str, str]]:
    """A token service; the forms it was sent."""
    forms: list[dict[str, str]] = []

    def assume(seen: Seen, writer: Any) -> None:
        forms.append(dict(parse_qsl(seen.body.decode())))
        end = (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
        writer.write(answer(200, ROLE.format(number=len(forms), end=end).encode(), XML))

    hostile.routes["/sts"] = assume
    return forms


async def test_aws_assumes_a_role(open_: Open, hostile: Hostile) -> None:
    forms = roles(hostile)
    hostile.json("/items", PAGE)
    driver = open_(AWS, {"secret": CANARY}, WITH_ROLE)
    await read(driver)
    await read(driver)
    assert len(forms) == 1 and forms[0]["Action"] == "AssumeRole"
    assert forms[0]["RoleArn"] == WITH_ROLE["role"] and forms[0]["ExternalId"] == "ex-1"
    assert credential(hostile.seen[0]) == "AKIDEXAMPLE" and "/sts/aws4_request" in str(
        hostile.seen[0].headers
    )
    assert [credential(seen) for seen in hostile.seen[1:]] == ["ASIA1", "ASIA1"]
    assert hostile.seen[1].headers["x-amz-security-token"] == "role-canary-session"


async def test_aws_role_keys_are_replaced_before_their_end(open_: Open, hostile: Hostile) -> None:
    forms = roles(hostile, minutes=1)
    hostile.json("/items", PAGE)
    driver = open_(AWS, {"secret": CANARY}, WITH_ROLE)
    await read(driver)
    await read(driver)
    assert len(forms) == 2


async def test_aws_role_keys_that_are_refused_are_replaced_once(open_: Open, hostile: Hostile) -> None:
    forms = roles(hostile)
    hostile.json("/items", {"message": "no"}, status=401)
    await refused(open_(AWS, {"secret": CANARY}, WITH_ROLE))
    assert len(forms) == 2


@pytest.mark.parametrize(
    ("reply", "kind", "word"),
    [
        (answer(403, REFUSED.encode(), XML), CredentialError, "AccessDenied (not yours)"),
        (answer(503, b"<x/>", XML), TransientError, "503"),
        (answer(200, b"<html>", XML), SystemicError, "XML"),
        (answer(200, b"<AssumeRoleResponse/>", XML), SystemicError, "no usable credentials"),
    ],
)
async def test_aws_a_role_that_cannot_be_assumed(
    open_: Open, hostile: Hostile, reply: bytes, kind: type[PlatintError], word: str
) -> None:
    hostile.routes["/sts"] = lambda seen, writer: writer.write(reply)
    error = await refused(open_(AWS, {"secret": CANARY}, WITH_ROLE))
    assert isinstance(error, kind) and word in error.message


async def test_aws_without_an_address_for_roles(open_: Open) -> None:
    with pytest.raises(ConfigError):
        open_({**AWS, "sts_url": ()}, {"secret": CANARY}, WITH_ROLE)


@pytest.mark.parametrize(
    "code", ["RequestTimeTooSkewed", "InvalidSignatureException", "SignatureDoesNotMatch"]
)
@pytest.mark.parametrize("hours", [-2, 3])
async def test_aws_takes_the_time_of_the_platform(
    open_: Open, hostile: Hostile, code: str, hours: int
) -> None:
    theirs = datetime.now(UTC) + timedelta(hours=hours)

    def items(seen: Seen, writer: Any) -> None:
        signed = datetime.strptime(seen.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if abs(signed - theirs) < timedelta(minutes=15):
            writer.write(answer(200, PAGE))
        else:
            writer.write(answer(403, {"code": code}, {"Date": format_datetime(theirs, usegmt=True)}))

    hostile.routes["/items"] = items
    hostile.json("/check", {})
    driver = open_(AWS, {"secret": CANARY}, FIELDS)
    assert await read(driver) == [{"id": 1}]
    assert len(hostile.seen) == 2
    assert "clock" in str([item.detail for item in await driver.check()])


async def test_aws_a_wrong_key_is_not_tried_again(open_: Open, hostile: Hostile) -> None:
    date = {"Date": format_datetime(datetime.now(UTC), usegmt=True)}
    hostile.json("/items", {"code": "SignatureDoesNotMatch"}, status=403, headers=date)
    await refused(open_(AWS, {"secret": CANARY}, FIELDS))
    assert len(hostile.seen) == 1


@pytest.mark.parametrize("status", [400, 403])
async def test_aws_role_keys_that_have_ended(open_: Open, hostile: Hostile, status: int) -> None:
    forms = roles(hostile)

    def items(seen: Seen, writer: Any) -> None:
        ended = {"__type": "ExpiredTokenException"}
        writer.write(answer(200, PAGE) if credential(seen) == "ASIA2" else answer(status, ended))

    hostile.routes["/items"] = items
    assert await read(open_(AWS, {"secret": CANARY}, WITH_ROLE)) == [{"id": 1}]
    assert len(forms) == 2


async def test_aws_endpoints_share_the_keys_of_a_role(open_: Open, hostile: Hostile) -> None:
    """Services have signing names of their own; the role is assumed once for all of them."""
    forms = roles(hostile)
    hostile.json("/check", {})
    services = ("sns", "events", "lambda")
    endpoints = {
        name: {"base_url": "${profile.base_url}", "auth": {**AWS, "service": name}} for name in services
    }
    checks = [{"id": name, "request": {"path": "/check", "endpoint": name}} for name in services]
    driver = open_(AWS, {"secret": CANARY}, WITH_ROLE, transport={"endpoints": endpoints}, check=checks)
    assert [item.ok for item in await driver.check()] == [True] * 3
    assert len(forms) == 1
    names = [seen.headers["authorization"].split("/")[3] for seen in hostile.seen[1:]]
    assert names == list(services) and {credential(seen) for seen in hostile.seen[1:]} == {"ASIA1"}
