"""Signatures as the standards and vendors print them in their documentation."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from platint_tui.core.secret import Secret
from platint_tui.drivers.http.auth import Unsigned
from platint_tui.drivers.http.auth.azure_storage import to_sign, to_sign_table
from platint_tui.drivers.http.auth.oauth1 import base_string, signature_of
from platint_tui.drivers.http.auth.sigv4 import Keys, Scope, in_headers, in_query

S3_KEYS = Keys("AKIAIOSFODNN7EXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"))
S3_AT = datetime(2013, 5, 24, tzinfo=UTC)
SUITE_KEYS = Keys("AKIDEXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"))
SUITE_AT = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
HOST = "https://examplebucket.s3.amazonaws.com"


def signature(headers: Any) -> str:
    return str(headers["authorization"]).rpartition("Signature=")[2]


# AWS, "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)", Amazon S3.
@pytest.mark.parametrize(
    ("request_", "names", "expected"),
    [
        (
            Unsigned("GET", f"{HOST}/test.txt", {"Range": "bytes=0-9"}),
            "host;range;x-amz-content-sha256;x-amz-date",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            Unsigned(
                "PUT",
                f"{HOST}/test%24file.text",
                {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
                b"Welcome to Amazon S3.",
            ),
            "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            Unsigned("GET", f"{HOST}/?lifecycle", {}),
            "host;x-amz-content-sha256;x-amz-date",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            Unsigned("GET", f"{HOST}/?max-keys=2&prefix=J", {}),
            "host;x-amz-content-sha256;x-amz-date",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_s3_in_headers(request_: Unsigned, names: str, expected: str) -> None:
    signed = in_headers(request_, S3_KEYS, Scope("s3", "us-east-1"), S3_AT)
    assert signature(signed.headers) == expected
    assert f"SignedHeaders={names}," in signed.headers["authorization"]
    assert signed.headers["x-amz-content-sha256"] == hashlib.sha256(request_.content or b"").hexdigest()


def test_s3_presigned() -> None:
    """AWS, "Authenticating Requests: Using Query Parameters"."""
    request = Unsigned("GET", f"{HOST}/test.txt", {})
    signed = in_query(request, S3_KEYS, Scope("s3", "us-east-1"), S3_AT, 86400)
    query = dict(parse_qsl(urlsplit(signed.url).query))
    assert query["X-Amz-Signature"] == "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    assert "authorization" not in signed.headers


def test_iam_list_users() -> None:
    """AWS, "Create a signed AWS API request"."""
    request = Unsigned(
        "GET",
        "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
        {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
    )
    signed = in_headers(request, SUITE_KEYS, Scope("iam", "us-east-1"), SUITE_AT)
    assert signature(signed.headers) == "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"


# AWS's Signature Version 4 test suite (aws-sig-v4-test-suite).
@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "GET",
            "/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        ("GET", "//example//", "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"),
        (
            "GET",
            "/example1/example2/../..",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        ("GET", "/./", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ],
)
def test_the_suite_of_aws(method: str, path: str, expected: str) -> None:
    request = Unsigned(method, f"https://example.amazonaws.com{path}", {})
    signed = in_headers(request, SUITE_KEYS, Scope("service", "us-east-1"), SUITE_AT)
    assert signature(signed.headers) == expected


def test_oauth1_base_string() -> None:
    """RFC 5849, 3.4.1.1."""
    parameters = [
        ("b5", "=%3D"),
        ("a3", "a"),
        ("c@", ""),
        ("a2", "r b"),
        ("oauth_consumer_key", "9djdj82h48djs9d2"),
        ("oauth_token", "kkk9d7dh3k39sjv7"),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", "137131201"),
        ("oauth_nonce", "7d8f3e4a"),
        ("c2", ""),
        ("a3", "2 q"),
    ]
    assert base_string("POST", "http://EXAMPLE.COM:80/request?b5=%3D%253D", parameters) == (
        "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26"
        "c%2540%3D%26c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26"
        "oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
    )


def test_oauth1_signature() -> None:
    """RFC 5849, 1.2: the request for the photo."""
    parameters = [
        ("file", "vacation.jpg"),
        ("size", "original"),
        ("oauth_consumer_key", "dpf43f3p2l4k3l03"),
        ("oauth_token", "nnch734d00sl2jdk"),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", "137131202"),
        ("oauth_nonce", "chapoH"),
    ]
    base = base_string("GET", "http://photos.example.net/photos?file=vacation.jpg&size=original", parameters)
    secrets = Secret("kd94hf93k423kf44"), Secret("pfkkdhi9sl3r4s00")
    assert signature_of(base, "HMAC-SHA1", *secrets) == "MdpQcU8iPSUjWoN/UDMsK2sui9I="


def test_pkce_challenge() -> None:
    """RFC 7636, appendix B."""
    from authlib.oauth2.rfc7636 import create_s256_code_challenge  # type: ignore[import-untyped]

    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert create_s256_code_challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_azure_shared_key_of_a_container() -> None:
    """Microsoft, "Authorize with Shared Key": Get Container Metadata, version 2015-02-21."""
    headers = {"x-ms-date": "Fri, 26 Jun 2015 23:39:12 GMT", "x-ms-version": "2015-02-21"}
    url = "https://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=metadata&timeout=20"
    assert to_sign("myaccount", Unsigned("GET", url, headers)) == (
        "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n"
        "/myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20"
    )


def test_azure_shared_key_repeated_parameters() -> None:
    """The same page: several values of one parameter, sorted and joined."""
    url = "https://myaccount.blob.core.windows.net/c?include=snapshots&include=metadata&Comp=list"
    assert to_sign("myaccount", Unsigned("GET", url, {})).endswith(
        "/myaccount/c\ncomp:list\ninclude:metadata,snapshots"
    )


def test_azure_shared_key_of_a_table() -> None:
    """The same page, "Table service (Shared Key authorization)"."""
    headers = {"Content-Type": "application/json", "x-ms-date": "Sun, 11 Oct 2009 19:52:39 GMT"}
    request = Unsigned("PUT", "https://myaccount.table.core.windows.net/Table?timeout=5&comp=acl", headers)
    assert to_sign_table("myaccount", request) == (
        "PUT\n\napplication/json\nSun, 11 Oct 2009 19:52:39 GMT\n/myaccount/Table?comp=acl"
    )
