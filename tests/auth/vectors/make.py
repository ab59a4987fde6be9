"""Computes `sdk.json`: what the vendors' own libraries sign, for test_vendor_signatures.py.

It is not run by the tests. To make the values again, in an environment of its own:

    python -m venv sdk && sdk/bin/pip install botocore azure-storage-blob azure-data-tables azure-servicebus \
        azure-core oauthlib google-auth msal woocommerce cryptography
    sdk/bin/python tests/auth/vectors/make.py > tests/auth/vectors/sdk.json

The keys and certificates in it were made for this purpose and open nothing.
"""

import base64
import datetime
import hashlib
import json
import sys
from importlib.metadata import version
from unittest import mock

import botocore.auth
import oauthlib.oauth1
import woocommerce.oauth
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.pipeline.transport import HttpRequest
from azure.data.tables._authentication import SharedKeyCredentialPolicy as TablePolicy
from azure.servicebus._pyamqp.utils import generate_sas_token
from azure.storage.blob._shared.authentication import SharedKeyCredentialPolicy as BlobPolicy
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.oauth2 import service_account
from msal.oauth2cli.assertion import JwtAssertionCreator

AT = datetime.datetime(2026, 11, 24, 1, 2, 3, tzinfo=datetime.UTC)
ACCESS, SECRET = "AKIDCANARYEXAMPLE", "wJalr/canary+secret/EXAMPLEKEY"
ACCOUNT_KEY = base64.b64encode(b"canary account key, 64 bytes long.............................!").decode()

REQUESTS = [
    (
        "s3",
        "eu-west-1",
        "GET",
        "https://b.s3.eu-west-1.amazonaws.com/?list-type=2&prefix=a%2Fb%20c&delimiter=%2F",
        {},
        "",
    ),
    (
        "s3",
        "eu-west-1",
        "PUT",
        "https://b.s3.eu-west-1.amazonaws.com/a//b/%C3%A9%20%2B~.txt",
        {"content-type": "text/plain"},
        "hello",
    ),
    ("s3", "us-east-1", "GET", "http://127.0.0.1:4566/bucket/key?versions=", {}, ""),
    (
        "dynamodb",
        "us-west-2",
        "POST",
        "https://dynamodb.us-west-2.amazonaws.com/",
        {"content-type": "application/x-amz-json-1.0", "x-amz-target": "DynamoDB_20120810.Scan"},
        '{"TableName":"t"}',
    ),
    (
        "lambda",
        "us-east-1",
        "GET",
        "https://lambda.us-east-1.amazonaws.com/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Af/policy?Qualifier=a%2Bb&MaxItems=5&Empty=",
        {},
        "",
    ),
    (
        "sns",
        "us-east-1",
        "POST",
        "https://sns.us-east-1.amazonaws.com/",
        {"content-type": "application/x-www-form-urlencoded; charset=utf-8"},
        "Action=ListTopics&Version=2010-03-31",
    ),
    (
        "execute-api",
        "us-east-1",
        "GET",
        "https://api.example.com/a/./b/../c//d?b=2&a=1&a=0",
        {"x-custom": "  many   spaces "},
        "",
    ),
]


def aws():
    made = []
    with mock.patch.object(botocore.auth, "get_current_datetime", lambda *_, **__: AT.replace(tzinfo=None)):
        for service, region, method, url, headers, body in REQUESTS:
            for token in ("", "session/canary+token=="):
                keys = Credentials(ACCESS, SECRET, token or None)
                # Presigned, this library moves a body into the query and drops repeated parameters.
                for where in ("header",) if body or "a=0" in url else ("header", "query"):
                    s3 = service == "s3"
                    names = {
                        ("header", True): "S3SigV4Auth",
                        ("header", False): "SigV4Auth",
                        ("query", True): "S3SigV4QueryAuth",
                        ("query", False): "SigV4QueryAuth",
                    }
                    signer = getattr(botocore.auth, names[where, s3])
                    request = AWSRequest(method, url, dict(headers), body.encode() or None)
                    args = (keys, service, region, 900) if where == "query" else (keys, service, region)
                    signer(*args).add_auth(request)
                    made.append(
                        {
                            "service": service,
                            "region": region,
                            "method": method,
                            "url": url,
                            "headers": headers,
                            "body": body,
                            "token": token,
                            "in": where,
                            "signed": request.url if where == "query" else request.headers["Authorization"],
                        }
                    )
    return made


def azure(policy, requests):
    made = []
    for method, url, headers, body in requests:
        request = HttpRequest(method, url, {**headers, "x-ms-date": "Tue, 24 Nov 2026 01:02:03 GMT"})
        if body:
            request.headers["content-length"] = str(len(body))
        policy.on_request(PipelineRequest(request, PipelineContext(None)))
        made.append(
            {
                "method": method,
                "url": url,
                "headers": headers,
                "body": body,
                "signed": request.headers["Authorization"],
            }
        )
    return made


def blob():
    version_ = {"x-ms-version": "2025-07-05"}
    return azure(
        BlobPolicy("acct", ACCOUNT_KEY),
        [
            ("GET", "https://acct.blob.core.windows.net/?comp=list", version_, ""),
            (
                "GET",
                "https://acct.blob.core.windows.net/c1?restype=container&comp=list&prefix=a%2Fb&maxresults=2",
                version_,
                "",
            ),
            (
                "PUT",
                "https://acct.blob.core.windows.net/c1/a%20b.txt",
                {
                    **version_,
                    "x-ms-blob-type": "BlockBlob",
                    "content-type": "text/plain",
                    "x-ms-meta-a": "1  2",
                    "if-none-match": "*",
                },
                "hello",
            ),
            (
                "DELETE",
                "http://127.0.0.1:10000/acct/c1/b?snapshot=2026-01-01T00%3A00%3A00.0000000Z",
                version_,
                "",
            ),
        ],
    )


def table():
    credential = AzureNamedKeyCredential("acct", ACCOUNT_KEY)
    return azure(
        TablePolicy(credential),
        [
            (
                "GET",
                "https://acct.table.core.windows.net/t1()?$filter=a%20eq%201&$top=5",
                {"x-ms-version": "2019-02-02", "accept": "application/json"},
                "",
            ),
            (
                "GET",
                "https://acct.table.core.windows.net/?comp=properties&restype=service",
                {"x-ms-version": "2019-02-02"},
                "",
            ),
            (
                "POST",
                "https://acct.table.core.windows.net/t1",
                {"x-ms-version": "2019-02-02", "content-type": "application/json"},
                '{"PartitionKey":"a"}',
            ),
        ],
    )


def oauth1():
    made = []
    requests = [
        (
            "GET",
            "http://shop.example/wp-json/wc/v3/orders?per_page=100&search=a%20b%26c&after=2026-01-01T00%3A00%3A00",
            "",
        ),
        ("POST", "http://shop.example:8080/wp-json/wc/v3/orders", ""),
        ("POST", "https://api.example.com/1/x?b=%C3%A9", "status=a+b%21&x=%2B"),
    ]
    for method in ("HMAC-SHA1", "HMAC-SHA256"):
        for token in (None, ("tok", "tok-secret")):
            for verb, url, body in requests:
                client = oauthlib.oauth1.Client(
                    "ck_canary",
                    "cs_canary&secret",
                    token and token[0],
                    token and token[1],
                    signature_method=method,
                    nonce="a" * 32,
                    timestamp=str(int(AT.timestamp())),
                )
                headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
                _, signed, _ = client.sign(url, verb, body or None, headers)
                made.append(
                    {
                        "verb": verb,
                        "url": url,
                        "body": body,
                        "method": method,
                        "token": token,
                        "signed": signed["Authorization"],
                    }
                )
    return made


def woo():
    made = []
    for verb, url in (
        ("GET", "http://shop.example/wp-json/wc/v3/orders?per_page=100&search=a%20b"),
        ("DELETE", "http://shop.example/wp-json/wc/v3/orders/7?force=true"),
    ):
        with mock.patch.object(woocommerce.oauth.OAuth, "generate_nonce", staticmethod(lambda: "a" * 32)):
            made.append(
                {
                    "verb": verb,
                    "url": url,
                    "signed": woocommerce.oauth.OAuth(
                        url,
                        "ck_canary",
                        "cs_canary",
                        version="wc/v3",
                        method=verb,
                        oauth_timestamp=int(AT.timestamp()),
                    ).get_oauth_url(),
                }
            )
    return made


def certificate():
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "canary")])
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(AT)
        .not_valid_after(AT + datetime.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    return (
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        cert.public_bytes(serialization.Encoding.PEM).decode(),
    )


def parts(token):
    return [json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2]]


def jwt():
    key, cert = certificate()
    account = {
        "type": "service_account",
        "client_email": "bot@p.iam.gserviceaccount.com",
        "private_key": key,
        "private_key_id": "kid-1",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    with mock.patch("google.auth._helpers.utcnow", lambda: AT.replace(tzinfo=None)):
        google_jwt = service_account.Credentials.from_service_account_info(
            account, scopes=["https://www.googleapis.com/auth/devstorage.read_only"]
        )._make_authorization_grant_assertion()
    digest = hashlib.sha256(
        x509.load_pem_x509_certificate(cert.encode()).public_bytes(serialization.Encoding.DER)
    ).digest()
    entra = JwtAssertionCreator(
        key, algorithm="PS256", sha256_thumbprint=digest.hex()
    ).create_normal_assertion(
        "https://login.microsoftonline.com/t/oauth2/v2.0/token",
        "client-1",
        issued_at=int(AT.timestamp()),
        expires_at=int(AT.timestamp()) + 600,
    )
    text = entra.decode() if isinstance(entra, bytes) else entra
    return {
        "key": key,
        "certificate": cert,
        "account": account,
        "google": parts(google_jwt.decode()),
        "google_signature": google_jwt.decode(),
        "entra": parts(text),
    }


json.dump(
    {
        "made_with": {
            name: version(name)
            for name in (
                "botocore",
                "azure-storage-blob",
                "azure-data-tables",
                "azure-servicebus",
                "oauthlib",
                "google-auth",
                "msal",
                "woocommerce",
            )
        },
        "at": AT.isoformat(),
        "access": ACCESS,
        "secret": SECRET,
        "account_key": ACCOUNT_KEY,
        "aws": aws(),
        "azure_blob": blob(),
        "azure_table": table(),
        "servicebus": {
            "resource": "https://ns.servicebus.windows.net/",
            "name": "RootManageSharedAccessKey",
            "key": "canary+key/=",
            "expiry": 1800000000,
            "signed": generate_sas_token(
                "https://ns.servicebus.windows.net/", "RootManageSharedAccessKey", "canary+key/=", 1800000000
            ),
        },
        "oauth1": oauth1(),
        "woocommerce": woo(),
        "jwt": jwt(),
    },
    sys.stdout,
    indent=1,
)
print()
