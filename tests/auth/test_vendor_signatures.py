"""Signatures that the vendors' own libraries made (vectors/sdk.json, see vectors/make.py)."""

from __future__ import annotations

import json
import random
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from platint_tui.core.clock import SystemClock
from platint_tui.core.errors import CredentialError
from platint_tui.core.model import Environment, Profile
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.auth import Unsigned
from platint_tui.drivers.http.auth.azure_storage import SharedAccess, SharedKey
from platint_tui.drivers.http.auth.jwt import Assertions, thumbprint
from platint_tui.drivers.http.auth.oauth1 import OAuth1
from platint_tui.drivers.http.auth.servicebus import ServiceBusSas, sas_token
from platint_tui.drivers.http.auth.sigv4 import Keys, Scope, in_headers, in_query
from platint_tui.manifest import schema
from tests.auth.support import connector

SDK: dict[str, Any] = json.loads(Path(__file__).with_name("vectors").joinpath("sdk.json").read_text())
AT = datetime.fromisoformat(SDK["at"])


class At(SystemClock):
    """The moment of the vectors."""

    def now_ms(self) -> int:
        return int(AT.timestamp() * 1000)


def unsigned(item: dict[str, Any], method: str = "method") -> Unsigned:
    return Unsigned(item[method], item["url"], item.get("headers", {}), item["body"].encode() or None)


@pytest.mark.parametrize(
    "item", SDK["aws"], ids=lambda item: f"{item['service']}-{item['in']}-{bool(item['token'])}"
)
def test_aws(item: dict[str, Any]) -> None:
    keys = Keys(SDK["access"], Secret(SDK["secret"]), Secret(item["token"]) if item["token"] else None)
    scope = Scope(item["service"], item["region"])
    if item["in"] == "header":
        assert in_headers(unsigned(item), keys, scope, AT).headers["authorization"] == item["signed"]
        return
    ours, theirs = (
        sorted(parse_qsl(urlsplit(url).query, keep_blank_values=True))
        for url in (in_query(unsigned(item), keys, scope, AT).url, item["signed"])
    )
    assert ours == theirs


@pytest.mark.parametrize(
    ("item", "table"),
    [*((item, False) for item in SDK["azure_blob"]), *((item, True) for item in SDK["azure_table"])],
)
async def test_azure_shared_key(item: dict[str, Any], table: bool) -> None:
    signer = SharedKey("acct", Secret(SDK["account_key"]), At(), table=table)
    assert (await signer.sign(unsigned(item))).headers["authorization"] == item["signed"]


def test_azure_account_key_that_is_none() -> None:
    with pytest.raises(CredentialError) as caught:
        SharedKey("acct", Secret("canary no base64!"), At())
    assert "canary" not in caught.value.sentence()


@pytest.mark.parametrize("prefix", ["", "?", "https://acct.blob.core.windows.net/c?"])
async def test_azure_sas_is_added_as_it_is(prefix: str) -> None:
    token = "sv=2022-11-02&ss=b&srt=sco&sp=rl&se=2027-01-01T00:00:00Z&spr=https&sig=c2lnbmF0dXJl%2Bcanary%3D"
    signer = SharedAccess(Secret(prefix + token))
    for url in ("https://acct.blob.core.windows.net/c?comp=list", "https://acct.blob.core.windows.net/c"):
        signed = await signer.sign(Unsigned("GET", url, {}))
        assert signed.url == f"{url}{'&' if '?' in url else '?'}{token}"
    assert {"sv", "sig", "se"} <= signer.private


def test_azure_sas_that_is_none() -> None:
    with pytest.raises(CredentialError):
        SharedAccess(Secret("an account key, not a signature"))


async def test_servicebus() -> None:
    item = SDK["servicebus"]
    ours = sas_token(item["resource"], item["name"], Secret(item["key"]), item["expiry"])
    assert dict(parse_qsl(ours)) == dict(parse_qsl(item["signed"]))
    signer = ServiceBusSas(item["name"], Secret(item["key"]), At(), 600)
    signed = await signer.sign(Unsigned("GET", "https://NS.servicebus.windows.net/q/messages", {}))
    fields = dict(parse_qsl(signed.headers["authorization"].removeprefix("SharedAccessSignature ")))
    assert fields["sr"] == item["resource"] and int(fields["se"]) == int(AT.timestamp()) + 600


@pytest.fixture
def fixed_nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platint_tui.drivers.http.auth.oauth1.secrets.token_hex", lambda size: "a" * 2 * size)


def pairs(header: str) -> dict[str, str]:
    listed = (part.strip().partition("=") for part in header.removeprefix("OAuth ").split(","))
    return {name: text.strip('"') for name, _, text in listed}


@pytest.mark.parametrize("item", SDK["oauth1"])
@pytest.mark.usefixtures("fixed_nonce")
async def test_oauth1(item: dict[str, Any]) -> None:
    token = (item["token"][0], Secret(item["token"][1])) if item["token"] else None
    consumer = ("ck_canary", Secret("cs_canary&secret"))
    headers = {"content-type": "application/x-www-form-urlencoded"} if item["body"] else {}
    request = Unsigned(item["verb"], item["url"], headers, item["body"].encode() or None)
    in_header = OAuth1(consumer, token, At(), method=item["method"], query=False)
    assert pairs((await in_header.sign(request)).headers["authorization"]) == pairs(item["signed"])


@pytest.mark.parametrize("item", SDK["woocommerce"])
@pytest.mark.usefixtures("fixed_nonce")
async def test_oauth1_in_the_query_covers_the_same(item: dict[str, Any]) -> None:
    """WooCommerce's own library leaves `oauth_version` out, so the signatures differ by that parameter alone."""
    from platint_tui.drivers.http.auth.oauth1 import base_string, signature_of

    theirs = dict(parse_qsl(urlsplit(item["signed"]).query))
    covered = [pair for pair in theirs.items() if pair[0] != "oauth_signature"]
    base = base_string(item["verb"], item["url"], covered)
    assert signature_of(base, "HMAC-SHA256", Secret("cs_canary")) == theirs["oauth_signature"]
    signer = OAuth1(("ck_canary", Secret("cs_canary")), None, At())
    ours = dict(parse_qsl(urlsplit((await signer.sign(Unsigned(item["verb"], item["url"], {}))).url).query))
    assert ours.pop("oauth_version") == "1.0"
    assert {**ours, "oauth_signature": ""} == {**theirs, "oauth_signature": ""}


async def test_oauth1_signs_a_next_link_anew() -> None:
    """A server repeats the parameters of the last request in its links."""
    signer = OAuth1(("ck_canary", Secret("cs_canary")), None, At())
    first = await signer.sign(Unsigned("GET", "http://shop.example/x?page=2", {}))
    again = await signer.sign(Unsigned("GET", first.url, {}))
    names = [name for name, _ in parse_qsl(urlsplit(again.url).query)]
    assert len(names) == len(set(names)) and "page" in names and again.url != first.url
    assert "oauth_signature" in signer.private


def assertion(**parts: Any) -> schema.Assertion:
    return schema.Assertion.model_validate(parts)


def context(**secrets: str) -> DriverContext:
    profile = Profile("p", "hostile", Environment.DEVELOPMENT, {"base_url": "http://127.0.0.1:9"}, {})
    values = {name: Secret(text) for name, text in secrets.items()}
    return DriverContext(connector({"type": "none"}), profile, values, None, None, At(), random.Random(1))  # type: ignore[arg-type]


def test_google_service_account() -> None:
    item = SDK["jwt"]
    spec = assertion(
        bundle="file",
        key="private_key",
        key_id="${bundle.private_key_id}",
        issuer="${bundle.client_email}",
        audience="${bundle.token_uri}",
        ttl="3600s",
        claims={"scope": "https://www.googleapis.com/auth/devstorage.read_only"},
    )
    made = Assertions(context(file=json.dumps(item["account"])), spec, {"profile": {}})
    assert made.claims(int(AT.timestamp()), unique=False) == item["google"][1]
    text = made.make()
    assert decoded(text, item["key"], "RS256") == (item["google"][0], item["google"][1])


def test_entra_certificate() -> None:
    item = SDK["jwt"]
    spec = assertion(
        alg="PS256", key="key", certificate="certificate", issuer="client-1", subject="client-1", ttl="10m"
    )
    audience = "https://login.microsoftonline.com/t/oauth2/v2.0/token"
    made = Assertions(
        context(key=item["key"], certificate=item["certificate"]), spec, {"profile": {}}, audience
    )
    header, claims = decoded(made.make(unique=True), item["key"], "PS256")
    assert header["x5t#S256"] == item["entra"][0]["x5t#S256"].rstrip("=")
    assert header["alg"] == item["entra"][0]["alg"]
    for name in ("iss", "sub", "aud", "exp", "iat"):
        assert claims[name] == item["entra"][1][name]
    assert claims["jti"] and claims["nbf"] == claims["iat"]


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "HS256"])
def test_algorithms(alg: str) -> None:
    key = (
        _ec_key()
        if alg == "ES256"
        else "a shared canary secret of 32 bytes"
        if alg == "HS256"
        else SDK["jwt"]["key"]
    )
    spec = assertion(alg=alg, key="key", issuer="me", audience="you", backdate="60s", ttl="9m")
    header, claims = decoded(Assertions(context(key=key), spec, {"profile": {}}).make(), key, alg)
    assert header["alg"] == alg
    assert claims == {
        "iss": "me",
        "aud": "you",
        "iat": int(AT.timestamp()) - 60,
        "exp": int(AT.timestamp()) + 540,
    }


def test_a_pem_with_written_out_line_ends() -> None:
    spec = assertion(key="key", issuer="me", audience="you")
    key = SDK["jwt"]["key"].replace("\n", "\\n")
    assert decoded(Assertions(context(key=key), spec, {"profile": {}}).make(), SDK["jwt"]["key"], "RS256")


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
@pytest.mark.parametrize(
    "key",
    ["canary", "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----", SDK["jwt"]["certificate"]],
)
def test_a_key_that_is_none(alg: str, key: str) -> None:
    spec = assertion(alg=alg, key="key", issuer="me", audience="you")
    with pytest.raises(CredentialError) as caught:
        Assertions(context(key=key), spec, {"profile": {}})
    assert caught.value.code == "key_form" and "canary" not in caught.value.sentence()


@pytest.mark.parametrize("text", ["canary", "[]", "{}", '{"private_key": ""}'])
def test_a_key_file_that_is_none(text: str) -> None:
    spec = assertion(bundle="file", key="private_key", issuer="me", audience="you")
    with pytest.raises(CredentialError) as caught:
        Assertions(context(file=text), spec, {"profile": {}})
    assert caught.value.code == "key_form" and "canary" not in caught.value.sentence()


def test_a_certificate_that_is_none() -> None:
    with pytest.raises(CredentialError):
        thumbprint("canary")


def decoded(text: str, key: str, alg: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a JWT whose signature is right."""
    from joserfc import jwt
    from joserfc.jwk import ECKey, OctKey, RSAKey

    kind: Any = {"HS256": OctKey, "ES256": ECKey}.get(alg, RSAKey)
    token = jwt.decode(text, kind.import_key(key), algorithms=[alg])
    return dict(token.header), dict(token.claims)


def _ec_key() -> str:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.derive_private_key(0x1234567890ABCDEF1234567890ABCDEF, ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
