"""Writes the webhook requests of connectors/_vectors anew, each signed as its platform signs. `python
tests/webhooks/make_vectors.py [PLATFORM…]`

The signatures are made here, with the standard library and cryptography, and with no code of the program. Keys that
a platform would keep are made from fixed texts; those of certificates are new each time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID

HERE = Path(__file__).parent
VECTORS = HERE.parents[1] / "connectors" / "_vectors"
NOW, TIME = "2026-01-01T12:00:00Z", 1767268800
LATE = "2026-01-01T12:20:00Z"
ORIGIN = "https://hooks.example.com"
TARGET = "/webhooks/test"
SECRET = "an offline secret of nobody"
WHSEC = "whsec_" + base64.b64encode(b"an offline secret of 32 bytes ok").decode()
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

Made = dict[str, Any]


def sample(platform: str, name: str) -> tuple[dict[str, str], str]:
    """The headers and the body of a recorded request."""
    found = json.loads((HERE / "samples" / platform / f"{name}.json").read_text())
    return found["headers"], json.dumps(found["body"], ensure_ascii=False)


def digest(secret: str | bytes, text: str, kind: str = "sha256") -> bytes:
    """A keyed hash."""
    key = secret.encode() if isinstance(secret, str) else secret
    return hmac.new(key, text.encode(), kind).digest()


def b64(data: bytes) -> str:
    """Base64 as text."""
    return base64.b64encode(data).decode()


def vector(headers: dict[str, str], body: str | None, **rest: Any) -> Made:
    """One file; `rest` is what differs from a POST to the usual address."""
    request: Made = {"method": rest.pop("method", "POST"), "target": rest.pop("target", TARGET)}
    request["headers"] = headers
    if body is not None:
        request |= _body(body)
    made: Made = {}
    for key in ("profile", "secrets"):
        if rest.get(key):
            made[key] = rest.pop(key)
    made["now"] = rest.pop("now", NOW)
    for key in ("certificates", "authorities"):
        if key in rest:
            made[key] = rest.pop(key)
    assert not rest, rest
    return {**made, "request": request}


def compact(value: Any) -> str:
    """JSON as most platforms write it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def stripe() -> dict[str, Made]:
    def signed(body: str, secret: str = WHSEC, **more: Any) -> Made:
        mac = digest(secret, f"{TIME}.{body}").hex()
        headers = {**JSON, "Stripe-Signature": f"t={TIME},v1={mac},v0={'0' * 64}"}
        return vector(headers, body, secrets={"webhook_secret": WHSEC}, **more)

    _, customer = sample("stripe", "customer.created")
    _, subscription = sample("stripe", "customer.subscription.created")
    deleted = customer.replace('"customer.created"', '"customer.deleted"')
    return {
        "hook_customer": signed(customer),
        "hook_subscription": signed(subscription),
        "hook_customer_deleted": signed(deleted),
        "hook_tampered": _changed(signed(customer), customer.replace("evt_", "evt_x")),
        "hook_old": signed(customer, now=LATE),
    }


def github() -> dict[str, Made]:
    def signed(name: str, event: str, *, form: bool = False) -> Made:
        headers, body = sample("github", name)
        if form:
            body = urlencode({"payload": body})
            headers = {**headers, "content-type": FORM["Content-Type"]}
        headers = {k: v for k, v in headers.items() if not k.startswith(("x-hub", "user-agent"))}
        headers["x-hub-signature-256"] = "sha256=" + digest(SECRET, body).hex()
        return vector(headers, body, secrets={"webhook_secret": SECRET})

    label = signed("label", "label")
    return {
        "hook_label": label,
        "hook_comment_form": signed("issue_comment", "issue_comment", form=True),
        "hook_ping": signed("ping", "ping"),
        "hook_tampered": _changed(label, label["request"]["body"].replace("deleted", "created", 1)),
    }


def gitlab() -> dict[str, Made]:
    def token(name: str, value: str = SECRET) -> Made:
        headers, body = sample("gitlab", name)
        return vector({**headers, "x-gitlab-token": value}, body, secrets={"webhook_secret": SECRET})

    headers, body = sample("gitlab", "Issue_Hook")
    identity = "f5e5f430-f57b-4e6e-9fac-d9128cd7232f"
    key = base64.b64decode(WHSEC.removeprefix("whsec_"))
    mac = b64(digest(key, f"{identity}.{TIME}.{body}"))
    headers = {**headers, "webhook-id": identity, "webhook-timestamp": str(TIME)}
    headers |= {"idempotency-key": identity, "webhook-signature": f"v1,{mac}"}
    headers.pop("x-gitlab-token")
    secrets = {"webhook_signing_token": WHSEC, "webhook_secret": SECRET}
    return {
        "hook_issue_token": token("Issue_Hook"),
        "hook_push": token("Push_Hook"),
        "hook_release": token("Release_Hook"),
        "hook_issue_signed": vector(headers, body, secrets=secrets),
        "hook_wrong_token": token("Issue_Hook", "another text"),
        # The token is right, but the signature is not, which decides.
        "hook_wrong_signature": vector(
            {**headers, "x-gitlab-token": SECRET, "webhook-signature": f"v1,{b64(bytes(32))}"},
            body,
            secrets=secrets,
        ),
    }


def slack() -> dict[str, Made]:
    def signed(body: str, kind: dict[str, str] = JSON, **more: Any) -> Made:
        mac = digest(SECRET, f"v0:{TIME}:{body}").hex()
        headers = {**kind, "X-Slack-Request-Timestamp": str(TIME), "X-Slack-Signature": f"v0={mac}"}
        return vector(headers, body, secrets={"signing_secret": SECRET}, **more)

    outer = {"token": "none", "team_id": "T0001", "api_app_id": "A0001", "type": "event_callback"}
    message = {
        "type": "message",
        "channel": "C0001",
        "user": "U0001",
        "text": "Grüße 👋",
        "ts": "1767268799.000100",
    }
    event = compact({**outer, "event_id": "Ev0001", "event_time": TIME, "event": message})
    reply = compact(
        {
            **outer,
            "event_id": "Ev0002",
            "event": {**message, "thread_ts": "1767260000.000100", "ts": "1767268800.000200"},
        }
    )
    gone = {"type": "message", "subtype": "message_deleted", "channel": "C0001", "deleted_ts": message["ts"]}
    deleted = compact({**outer, "event_id": "Ev0003", "event": {**gone, "previous_message": message}})
    check = compact({"token": "none", "challenge": "3eZbrw1aBm2rZgRNFdxV2595", "type": "url_verification"})
    action = urlencode(
        {"payload": compact({"type": "block_actions", "trigger_id": "12466734323.1395872398"})}
    )
    return {
        "hook_message": signed(event),
        "hook_reply": signed(reply),
        "hook_deleted": signed(deleted),
        "hook_action": signed(action, FORM),
        "hook_challenge": signed(check),
        "hook_challenge_unsigned": vector(JSON, check, secrets={"signing_secret": SECRET}),
        "hook_old": signed(event, now=LATE),
    }


def discord() -> dict[str, Made]:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(b"an offline key of 32 bytes, okay")
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def signed(body: str) -> Made:
        headers = {**JSON, "X-Signature-Timestamp": str(TIME)}
        headers["X-Signature-Ed25519"] = key.sign(f"{TIME}{body}".encode()).hex()
        return vector(headers, body, profile={"public_key": raw.hex()})

    guild = {"id": "197038439483310086", "name": "Discord Testers", "owner_id": "73193882359173120"}
    data = {
        "integration_type": 0,
        "scopes": ["applications.commands"],
        "user": {"id": "7319388"},
        "guild": guild,
    }
    event = {"type": "APPLICATION_AUTHORIZED", "timestamp": "2026-01-01T11:59:58.123456", "data": data}
    authorized = compact({"version": 1, "application_id": "1234560123453231555", "type": 1, "event": event})
    ping = compact(
        {"application_id": "1234560123453231555", "id": "1", "token": "none", "type": 1, "version": 1}
    )
    return {
        "hook_authorized": signed(authorized),
        "hook_ping": signed(ping),
        "hook_event_ping": signed(
            compact({"version": 1, "application_id": "1234560123453231555", "type": 0})
        ),
        "hook_tampered": _changed(signed(ping), ping + " "),
    }


def twilio() -> dict[str, Made]:
    def signed(form: dict[str, str], token: str = SECRET) -> Made:
        body = urlencode(form)
        text = ORIGIN + TARGET + "".join(name + value for name, value in sorted(form.items()))
        headers = {**FORM, "X-Twilio-Signature": b64(digest(token, text, "sha1"))}
        return vector(headers, body, secrets={"auth_token": SECRET})

    account = "AC" + "0" * 32
    status = {"MessageSid": "SM" + "1" * 32, "SmsSid": "SM" + "1" * 32, "AccountSid": account}
    status |= {
        "MessageStatus": "delivered",
        "SmsStatus": "delivered",
        "To": "+15558675310",
        "From": "+15017122661",
    }
    call = {
        "CallSid": "CA" + "2" * 32,
        "CallStatus": "ringing",
        "AccountSid": account,
        "Direction": "inbound",
    }
    call |= {"From": "+15558675310", "To": "+15017122661", "ApiVersion": "2010-04-01", "CallerName": ""}
    data = {
        "messageSid": "SM" + "3" * 32,
        "accountSid": account,
        "to": "+15558675310",
        "from": "+15017122661",
    }
    cloud = {
        "specversion": "1.0",
        "type": "com.twilio.messaging.message.delivered",
        "source": "/v1/Messages/SM",
    }
    cloud |= {"id": "EZ" + "4" * 32, "time": "2026-01-01T11:59:59.000Z"}
    events = compact([{**cloud, "data": data}, {**cloud, "id": "EZ" + "5" * 32, "data": data}])
    target = f"{TARGET}?bodySHA256={hashlib.sha256(events.encode()).hexdigest()}"
    headers = {**JSON, "X-Twilio-Signature": b64(digest(SECRET, ORIGIN + target, "sha1"))}
    return {
        "hook_status": signed(status),
        "hook_call": signed(call),
        "hook_events": vector(headers, events, target=target, secrets={"auth_token": SECRET}),
        "hook_tampered": _changed(signed(status), urlencode({**status, "MessageStatus": "failed"})),
    }


def sendgrid() -> dict[str, Made]:
    key = ec.derive_private_key(int.from_bytes(b"an offline key of 32 bytes, ok.."), ec.SECP256R1())
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    def signed(body: str) -> Made:
        mac = key.sign(f"{TIME}{body}".encode(), ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        headers = {**JSON, "X-Twilio-Email-Event-Webhook-Timestamp": str(TIME)}
        headers["X-Twilio-Email-Event-Webhook-Signature"] = b64(mac)
        return vector(headers, body, profile={"webhook_public_key": b64(public)})

    def event(number: int, name: str, **more: Any) -> Made:
        return {
            "email": f"reader{number}@example.com",
            "timestamp": TIME - number,
            "sg_event_id": f"ZGVsaXZlcmVkLTAt{number}",
            "sg_message_id": f"14c5d75ce93.dfd.64b469.filter0001.{number}",
            "event": name,
            **more,
        }

    events = [
        event(1, "delivered", response="250 OK"),
        event(2, "bounce", type="bounce", reason="500 unknown recipient", status="5.0.0"),
        event(3, "bounce", type="blocked", reason="mail box full", status="4.2.2"),
        event(4, "group_resubscribe", asm_group_id=10),
    ]
    # Each event on a line of its own, and the line end at the end is signed too.
    body = "[" + ",\r\n".join(compact(item) for item in events) + "]\r\n"
    return {"hook_events": signed(body), "hook_tampered": _changed(signed(body), body.rstrip())}


def shopify() -> dict[str, Made]:
    def signed(name: str) -> Made:
        headers, body = sample("shopify", name)
        headers = {**headers, "x-shopify-triggered-at": "2026-01-01T11:59:59.123456789Z"}
        headers["x-shopify-hmac-sha256"] = b64(digest(SECRET, body))
        return vector(
            headers, body, secrets={"webhook_secret": "a newer one", "webhook_secret_previous": SECRET}
        )

    customer = signed("customers.update")
    return {
        "hook_customer": customer,
        "hook_customer_deleted": signed("customers.delete"),
        "hook_tampered": _changed(customer, customer["request"]["body"] + "\n"),
    }


def woocommerce() -> dict[str, Made]:
    def signed(name: str) -> Made:
        headers, body = sample("woocommerce", name)
        headers = {**headers, "x-wc-webhook-signature": b64(digest(SECRET, body))}
        return vector(headers, body, secrets={"webhook_secret": SECRET})

    coupon = signed("coupon.created")
    return {
        "hook_coupon": coupon,
        "hook_coupon_deleted": signed("coupon.deleted"),
        "hook_ping": vector(FORM, "webhook_id=7", secrets={"webhook_secret": SECRET}),
        "hook_ping_and_more": vector(FORM, "webhook_id=7&id=17", secrets={"webhook_secret": SECRET}),
        "hook_tampered": _changed(coupon, coupon["request"]["body"].replace("10.00", "99.00")),
    }


def hubspot() -> dict[str, Made]:
    def signed(body: str, **more: Any) -> Made:
        stamp = str(TIME * 1000)
        headers = {**JSON, "X-HubSpot-Request-Timestamp": stamp}
        headers["X-HubSpot-Signature-v3"] = b64(digest(SECRET, f"POST{ORIGIN}{TARGET}{body}{stamp}"))
        return vector(headers, body, secrets={"webhook_secret": SECRET}, **more)

    def event(number: int, kind: str, **more: Any) -> Made:
        return {
            "eventId": 3181526809 + number,
            "subscriptionId": 2074500,
            "portalId": 27145807,
            "appId": 1160452,
            "occurredAt": TIME * 1000 - number,
            "subscriptionType": kind,
            "attemptNumber": 0,
            "objectId": 7298894071 + number,
            **more,
        }

    events = [
        event(1, "contact.propertyChange", propertyName="email", propertyValue="reader@example.com"),
        event(2, "company.deletion"),
        event(3, "object.creation", objectTypeId="0-3"),
    ]
    body = compact(events)
    _, workflow = sample("hubspot", "COMPANY")
    old = {**JSON, "X-HubSpot-Signature-Version": "v1"}
    old["X-HubSpot-Signature"] = hashlib.sha256((SECRET + workflow).encode()).hexdigest()
    return {
        "hook_events": signed(body),
        "hook_workflow": signed(workflow),
        "hook_tampered": _changed(signed(body), body.replace("deletion", "creation")),
        "hook_old": signed(body, now=LATE),
        "hook_v1_only": vector(old, workflow, secrets={"webhook_secret": SECRET}),
    }


def jira() -> dict[str, Made]:
    def signed(body: str, number: int) -> Made:
        headers = {"Content-Type": "application/json; charset=UTF-8"}
        headers["X-Atlassian-Webhook-Identifier"] = f"00000000-0000-4000-8000-00000000000{number}"
        headers["X-Hub-Signature"] = "sha256=" + digest(SECRET, body).hex()
        return vector(headers, body, secrets={"webhook_secret": SECRET})

    issue = {"id": "10002", "key": "ED-1", "self": "https://example.atlassian.net/rest/api/2/issue/10002"}
    fields = {
        "summary": "Too much résumé",
        "updated": "2026-01-01T11:59:58.000+0000",
        "description": "*wiki*",
    }
    stamp = TIME * 1000
    updated = {"timestamp": stamp, "webhookEvent": "jira:issue_updated", "issue": {**issue, "fields": fields}}
    comment = {"id": "10100", "body": "Seen.", "created": "2026-01-01T11:59:59.000+0000"}
    commented = {"timestamp": stamp, "webhookEvent": "comment_created", "comment": comment, "issue": issue}
    project = {
        "timestamp": stamp,
        "webhookEvent": "project_deleted",
        "project": {"id": 10000, "key": "ED", "name": "E"},
    }
    first = signed(compact(updated), 1)
    return {
        "hook_issue": first,
        "hook_comment": signed(compact(commented), 2),
        "hook_project_deleted": signed(compact(project), 3),
        "hook_tampered": _changed(first, first["request"]["body"].replace("résumé", "resume")),
    }


def circleci() -> dict[str, Made]:
    body = compact(
        {
            "id": "3888f21b-eaa7-38e3-8f3d-75a63bba8895",
            "type": "workflow-completed",
            "happened_at": "2026-01-01T11:59:58.987654Z",
            "webhook": {"id": "cf8c4fdd-0587-4da1-b4ca-4846e9640af9", "name": "Sample Webhook"},
            "project": {
                "id": "84996744-a854-4f5e-aea3-04e2851dc1d2",
                "name": "webhook-service",
                "slug": "gh/o/p",
            },
            "organization": {"id": "f22b6566-597d-46d5-ba74-99ef5bb3d85c", "name": "o"},
            "workflow": {
                "id": "fda08377-fe7e-46b1-8992-3a7aaecac9c3",
                "name": "build-test-deploy",
                "status": "success",
                "created_at": "2026-01-01T11:40:00.000Z",
                "stopped_at": "2026-01-01T11:59:58.000Z",
                "url": "https://app.circleci.com/pipelines/gh/o/p/130/workflows/fda08377",
            },
            "pipeline": {"id": "1285fe1d-d3a6-44fc-8886-8979558254c4", "number": 130},
        }
    )

    def signed(secret: str = SECRET) -> Made:
        mac = digest(secret, body).hex()
        headers = {
            **JSON,
            "circleci-event-type": "workflow-completed",
            "circleci-signature": f"v1={mac},v2=none",
        }
        return vector(headers, body, secrets={"webhook_secret": SECRET})

    return {"hook_workflow": signed(), "hook_wrong_secret": signed("another secret")}


def salesforce() -> dict[str, Made]:
    event = {
        "eventCategoryType": "TransactionalSendEvents.EmailSent",
        "timestampUTC": TIME * 1000,
        "compositeId": "4ca31ee9-17f6-4d2d-9c0d-3d3a2b7e2b8f.1.101.1",
        "composite": {"jobId": "1", "batchId": "101", "listId": "1", "emailId": "4ca31ee9"},
        "definitionKey": "order-confirmation",
        "mid": 7271278,
        "eid": 7271278,
        "info": {"to": "reader@example.com", "messageKey": "m-1"},
    }
    bounced = {**event, "eventCategoryType": "TransactionalSendEvents.EmailBounced"}
    body = compact([event, bounced])
    secrets = {"webhook_signature_key": SECRET, "webhook_token": "a long random text"}
    headers = {**JSON, "x-sfmc-ens-signature": b64(digest(SECRET, body))}
    soap = (
        '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">'
        '<soapenv:Body><notifications xmlns="http://soap.sforce.com/2005/09/outbound">'
        "<OrganizationId>00D000000000001EAA</OrganizationId><ActionId>04k000000000001AAA</ActionId>"
        "<Notification><Id>04l000000000001AAA</Id></Notification></notifications></soapenv:Body></soapenv:Envelope>"
    )
    xml = {"Content-Type": "text/xml; charset=UTF-8", "SOAPAction": '""'}
    check = compact({"callbackId": "65b885ab-c2b4-46fe-85d0-d6cb8be8057d", "verificationKey": "00000000"})
    return {
        "hook_ens": vector(headers, body, secrets=secrets),
        "hook_outbound": vector(xml, soap, target=f"{TARGET}?token=a+long+random+text", secrets=secrets),
        "hook_verification": vector(JSON, check, secrets=secrets),
        "hook_tampered": vector(headers, body.replace("EmailSent", "EmailOpen"), secrets=secrets),
        "hook_wrong_token": vector(xml, soap, target=f"{TARGET}?token=a+guess", secrets=secrets),
    }


def azure() -> dict[str, Made]:
    target = f"{TARGET}?token=a-long-random-text"
    secrets = {"webhook_secret": "a-long-random-text"}
    topic = "/subscriptions/00000000-0000-0000-0000-000000000001"
    uri = f"{topic}/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/sa"
    event = {
        "id": "4db48cba-50a2-455a-93b4-de41a3b5b7f6",
        "topic": topic,
        "subject": uri,
        "eventType": "Microsoft.Resources.ResourceWriteSuccess",
        "eventTime": "2026-01-01T11:59:58.1234567Z",
        "data": {
            "resourceUri": uri,
            "status": "Succeeded",
            "operationName": "Microsoft.Storage/storageAccounts/write",
        },
        "dataVersion": "2",
        "metadataVersion": "1",
    }
    deleted = {**event, "id": "5db48cba-50a2-455a-93b4-de41a3b5b7f6"}
    deleted["eventType"] = "Microsoft.Resources.ResourceDeleteSuccess"
    grid = {
        **JSON,
        "aeg-event-type": "Notification",
        "aeg-subscription-name": "SUB",
        "aeg-delivery-count": "0",
    }
    check = {
        "id": "2d1781af-3a4c-4d7c-bd0c-e34b19da4e66",
        "topic": topic,
        "subject": "",
        "data": {
            "validationCode": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6",
            "validationUrl": "https://rp.example/v",
        },
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "eventTime": "2026-01-01T11:59:58.1234567Z",
        "metadataVersion": "1",
        "dataVersion": "1",
    }
    cloud = {
        "specversion": "1.0",
        "type": "Microsoft.Storage.BlobCreated",
        "source": f"{topic}/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/sa",
        "id": "9aeb0fdf-c01e-0131-0922-9eb54906e209",
        "time": "2026-01-01T11:59:58.1234567Z",
        "subject": "blobServices/default/containers/c/blobs/f.txt",
        "data": {"api": "PutBlob", "contentLength": 524288},
    }
    binary = {**JSON, **{f"ce-{name}": str(value) for name, value in cloud.items() if name != "data"}}
    origin = {"WebHook-Request-Origin": "eventgrid.azure.net"}
    validation = {**JSON, "aeg-event-type": "SubscriptionValidation"}
    structured = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
    return {
        "hook_events": vector(grid, compact([event, deleted]), target=target, secrets=secrets),
        "hook_cloudevent": vector(structured, compact(cloud), target=target, secrets=secrets),
        "hook_cloudevent_binary": vector(binary, compact(cloud["data"]), target=target, secrets=secrets),
        "hook_validation": vector(validation, compact([check]), target=target, secrets=secrets),
        "hook_options": vector(origin, None, method="OPTIONS", target=target, secrets=secrets),
        "hook_no_token": vector(grid, compact([event]), secrets=secrets),
    }


class Authority:
    """A certificate of a test authority, and what is signed with a key that it stands for."""

    def __init__(self, common_name: str) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        root = rsa.generate_private_key(65537, 2048)
        start, end = datetime(2025, 6, 1, tzinfo=UTC), datetime(2035, 6, 1, tzinfo=UTC)
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Offline test authority")])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])

        def certificate(name: x509.Name, key: rsa.RSAPrivateKey, authority: bool) -> str:
            made = (
                x509.CertificateBuilder(
                    issuer, name, key.public_key(), x509.random_serial_number(), start, end
                )
                .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
                .add_extension(
                    x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False
                )
            )
            if authority:
                usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
                made = made.add_extension(usage, critical=True)
            else:
                names = x509.SubjectAlternativeName([x509.DNSName(common_name)])
                made = made.add_extension(names, critical=False)
            return made.sign(root, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

        self.root = certificate(issuer, root, True)
        self.leaf = certificate(subject, self.key, False)

    def sign(self, text: str) -> str:
        """RSA PKCS#1 v1.5 with SHA-256, in base64."""
        return b64(self.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))


def paypal() -> dict[str, Made]:
    authority, webhook_id = Authority("messageverificationcerts.paypal.com"), "1JE4291016473214C"
    url = "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-38317689"

    def signed(name: str) -> Made:
        headers, body = sample("paypal", name)
        identity, moment = "e068dce0-ba1d-11ed-8635-fb7d730e54d3", "2026-01-01T11:59:58Z"
        headers = {
            k: v
            for k, v in headers.items()
            if k in ("content-type", "paypal-auth-algo", "paypal-auth-version")
        }
        headers |= {
            "paypal-transmission-id": identity,
            "paypal-transmission-time": moment,
            "paypal-cert-url": url,
        }
        text = f"{identity}|{moment}|{webhook_id}|{zlib.crc32(body.encode())}"
        headers["paypal-transmission-sig"] = authority.sign(text)
        return vector(
            headers,
            body,
            profile={"webhook_id": webhook_id},
            certificates={url: authority.leaf},
            authorities=authority.root,
        )

    dispute = signed("CUSTOMER.DISPUTE.CREATED")
    return {
        "hook_dispute": dispute,
        "hook_product": signed("CATALOG.PRODUCT.CREATED"),
        "hook_tampered": _changed(dispute, dispute["request"]["body"].replace("3.00", "3.01")),
    }


def aws() -> dict[str, Made]:
    authority, topic = Authority("sns.amazonaws.com"), "arn:aws:sns:eu-central-1:123456789012:orders"
    url = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0000.pem"

    def signed(message: dict[str, str], names: tuple[str, ...]) -> Made:
        text = "".join(f"{name}\n{message[name]}\n" for name in names if name in message)
        body = json.dumps({**message, "SignatureVersion": "2", "Signature": authority.sign(text)}, indent=2)
        headers = {
            "x-amz-sns-message-type": message["Type"],
            "x-amz-sns-message-id": message["MessageId"],
            "x-amz-sns-topic-arn": message["TopicArn"],
            "Content-Type": "text/plain; charset=UTF-8",
        }
        return vector(
            headers,
            body,
            profile={"topic_arn": topic},
            secrets={"webhook_secret": "a-long-random-text"},
            certificates={url: authority.leaf},
            authorities=authority.root,
        )

    common = {"TopicArn": topic, "Timestamp": "2026-01-01T11:59:58.123Z", "SigningCertURL": url}
    alarm = {
        "AlarmName": "too-many-errors",
        "AlarmArn": "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:too-many-errors",
        "NewStateValue": "ALARM",
        "NewStateReason": "Threshold Crossed: 1 datapoint (7.0) was greater than the threshold (5.0).",
        "OldStateValue": "OK",
    }
    notification = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "Subject": "ALARM",
    }
    notification |= {"Message": compact(alarm), **common}
    names = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
    first = signed(notification, names)
    other = signed({**notification, "TopicArn": "arn:aws:sns:eu-central-1:999999999999:orders"}, names)
    confirmation = {
        "Type": "SubscriptionConfirmation",
        "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
        "Token": "2336412f37",
        "Message": "You have chosen to subscribe to the topic.",
        "SubscribeURL": "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=2336412f37",
        **common,
    }
    asked = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
    raw = {
        "x-amz-sns-message-type": "Notification",
        "x-amz-sns-message-id": "32b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "x-amz-sns-topic-arn": topic,
        "x-amz-sns-rawdelivery": "true",
        "Content-Type": "text/plain; charset=UTF-8",
    }
    token = {"profile": {"topic_arn": topic}, "secrets": {"webhook_secret": "a-long-random-text"}}
    return {
        "hook_alarm": first,
        "hook_confirmation": signed(confirmation, asked),
        "hook_raw": vector(raw, "order 17", target=f"{TARGET}?token=a-long-random-text", **token),
        "hook_raw_without_token": vector(raw, "order 17", **token),
        "hook_tampered": _changed(first, first["request"]["body"].replace("(7.0)", "(1.0)")),
        "hook_other_topic": other,
    }


def gcp() -> dict[str, Made]:
    key = rsa.generate_private_key(65537, 2048)
    numbers = key.public_key().public_numbers()

    def text(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    def number(value: int) -> str:
        return text(value.to_bytes((value.bit_length() + 7) // 8, "big"))

    keys = {
        "kty": "RSA",
        "kid": "k1",
        "alg": "RS256",
        "use": "sig",
        "n": number(numbers.n),
        "e": number(numbers.e),
    }
    audience, account = ORIGIN + TARGET, "push@example-project.iam.gserviceaccount.com"

    def signed(body: str, **claims: Any) -> Made:
        said = {"aud": audience, "azp": "1138", "email": account, "email_verified": True, "sub": "1138"}
        said |= {"iss": "https://accounts.google.com", "iat": TIME - 60, "exp": TIME + 3540, **claims}
        head = text(compact({"alg": "RS256", "kid": "k1", "typ": "JWT"}).encode())
        unsigned = f"{head}.{text(compact(said).encode())}"
        mac = text(key.sign(unsigned.encode(), padding.PKCS1v15(), hashes.SHA256()))
        return vector(
            {**JSON, "Authorization": f"Bearer {unsigned}.{mac}", "User-Agent": "APIs-Google"},
            body,
            profile={"push_audience": audience, "push_account": account},
            certificates={"https://www.googleapis.com/oauth2/v3/certs": compact({"keys": [keys]})},
        )

    found = {
        "kind": "storage#object",
        "id": "b/o.json/1767268798",
        "name": "o.json",
        "bucket": "b",
        "size": "17",
    }
    found |= {
        "contentType": "application/json",
        "generation": "1767268798",
        "updated": "2026-01-01T11:59:58.000Z",
    }
    attributes = {"eventType": "OBJECT_FINALIZE", "bucketId": "b", "objectId": "o.json"}
    message = {
        "data": b64(compact(found).encode()),
        "messageId": "2070443601311540",
        "attributes": attributes,
    }
    message |= {"message_id": "2070443601311540", "publishTime": "2026-01-01T11:59:59.123Z"}
    body = json.dumps(
        {"message": message, "subscription": "projects/p/subscriptions/s", "deliveryAttempt": 1}, indent=1
    )
    return {
        "hook_object": signed(body),
        "hook_other_account": signed(body, email="push@another-project.iam.gserviceaccount.com"),
        "hook_expired": signed(body, iat=TIME - 7200, exp=TIME - 3600),
    }


def webhook() -> dict[str, Made]:
    body = '{"type": "invoice.paid",\n "timestamp": "2026-01-01T11:59:58Z", "data": {"id": "in_1"}}\n'
    key = base64.b64decode(WHSEC.removeprefix("whsec_"))
    identity = "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"
    mac = "v1," + b64(digest(key, f"{identity}.{TIME}.{body}"))

    def standard(prefix: str, now: str = NOW) -> Made:
        headers = {
            **JSON,
            f"{prefix}-id": identity,
            f"{prefix}-timestamp": str(TIME),
            f"{prefix}-signature": mac,
        }
        return vector(headers, body, secrets={"webhook_secret": WHSEC}, now=now)

    hub = {**JSON, "X-Hub-Signature-256": "sha256=" + digest(SECRET, body).hex()}
    token = {**JSON, "Authorization": "Bearer " + "a-long-random-text"}
    basic = {**JSON, "Authorization": "Basic " + b64("Jürgen:päss:wort".encode())}
    cloud = {"ce-specversion": "1.0", "ce-id": "A-1", "ce-source": "/shop", "ce-type": "made", **JSON}
    asked = "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token="
    both = {"webhook_secret": WHSEC, "webhook_token": "a-long-random-text"}
    wrong = {
        **token,
        "webhook-id": identity,
        "webhook-timestamp": str(TIME),
        "webhook-signature": f"v1,{b64(bytes(32))}",
    }
    return {
        "hook_standard": standard("webhook"),
        "hook_svix": standard("svix"),
        "hook_old": standard("webhook", LATE),
        "hook_hub": vector(hub, body, secrets={"webhook_secret": SECRET}),
        "hook_token": vector({**token, **cloud}, body, secrets={"webhook_token": "a-long-random-text"}),
        "hook_basic": vector(
            basic, body, profile={"webhook_username": "Jürgen"}, secrets={"webhook_password": "päss:wort"}
        ),
        "hook_wrong_signature": vector(wrong, body, secrets=both),
        "hook_unsigned": vector(JSON, body, secrets=both),
        "hook_no_secret": vector(token, body),
        "hook_challenge": vector(
            {}, None, method="GET", target=f"{TARGET}?{asked}my+token", secrets={"verify_token": "my token"}
        ),
        "hook_wrong_challenge": vector(
            {}, None, method="GET", target=f"{TARGET}?{asked}guess", secrets={"verify_token": "my token"}
        ),
        "hook_options": vector({"WebHook-Request-Origin": "events.example.com"}, None, method="OPTIONS"),
    }


def _body(text: str) -> Made:
    """A body as text, or as base64 where YAML would change it."""
    return {"base64": b64(text.encode())} if "\r" in text else {"body": text}


def _changed(made: Made, body: str) -> Made:
    """The same request with another body."""
    changed = {key: value for key, value in made["request"].items() if key not in ("body", "base64")} | _body(
        body
    )
    assert changed != made["request"]
    return {**made, "request": changed}


PLATFORMS: dict[str, Callable[[], dict[str, Made]]] = {
    "aws": aws,
    "azure": azure,
    "circleci": circleci,
    "discord": discord,
    "gcp": gcp,
    "github": github,
    "gitlab": gitlab,
    "hubspot": hubspot,
    "jira": jira,
    "paypal": paypal,
    "salesforce": salesforce,
    "sendgrid": sendgrid,
    "shopify": shopify,
    "slack": slack,
    "stripe": stripe,
    "twilio": twilio,
    "webhook": webhook,
    "woocommerce": woocommerce,
}


def main(names: list[str]) -> None:
    """Write the files of the platforms named, or of all."""
    for platform in names or sorted(PLATFORMS):
        folder = VECTORS / platform
        folder.mkdir(parents=True, exist_ok=True)
        for name, made in PLATFORMS[platform]().items():
            text = yaml.safe_dump(made, sort_keys=False, allow_unicode=True, width=10**9)
            (folder / f"{name}.yaml").write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
