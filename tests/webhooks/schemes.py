"""How every vendor's webhooks are verified, as its manifest says it."""

from __future__ import annotations

from typing import Any

_SECRETS = ["webhook_secret", "webhook_secret_previous"]

SCHEMES: dict[str, list[dict[str, Any]]] = {
    "stripe": [
        {
            "scheme": "hmac",
            "secret": _SECRETS,
            "header": "Stripe-Signature",
            "format": "pairs",
            "pairs": {"timestamp": "t", "signature": "v1"},
            "signed": "{timestamp}.{body}",
            "tolerance": "5m",
            "future": False,
        }
    ],
    "github": [
        {
            "scheme": "hmac",
            "secret": _SECRETS,
            "header": "X-Hub-Signature-256",
            "format": "prefixed",
            "prefix": "sha256=",
        }
    ],
    "gitlab": [
        {
            "scheme": "standard_webhooks",
            "secret": ["webhook_signing_token", "webhook_signing_token_previous"],
            "names": ["webhook"],
        },
        {"scheme": "token", "secret": _SECRETS, "header": "X-Gitlab-Token"},
    ],
    "slack": [
        {
            "scheme": "hmac",
            "secret": ["signing_secret", "signing_secret_previous"],
            "header": "X-Slack-Signature",
            "format": "prefixed",
            "prefix": "v0=",
            "timestamp": "X-Slack-Request-Timestamp",
            "signed": "v0:{timestamp}:{body}",
            "tolerance": "5m",
        }
    ],
    "discord": [
        {
            "scheme": "ed25519",
            "public_key": ["public_key", "public_key_previous"],
            "header": "X-Signature-Ed25519",
            "timestamp": "X-Signature-Timestamp",
            "signed": "{timestamp}{body}",
        }
    ],
    "twilio": [{"scheme": "twilio", "secret": ["auth_token", "auth_token_secondary"]}],
    "sendgrid": [
        {
            "scheme": "ecdsa",
            "public_key": ["webhook_public_key", "webhook_public_key_previous"],
            "header": "X-Twilio-Email-Event-Webhook-Signature",
            "timestamp": "X-Twilio-Email-Event-Webhook-Timestamp",
            "signed": "{timestamp}{body}",
        }
    ],
    "shopify": [
        {"scheme": "hmac", "secret": _SECRETS, "header": "X-Shopify-Hmac-Sha256", "encoding": "base64"},
        {"scheme": "hmac", "secret": _SECRETS, "header": "Shopify-Hmac-Sha256", "encoding": "base64"},
    ],
    "woocommerce": [
        {"scheme": "hmac", "secret": _SECRETS, "header": "X-WC-Webhook-Signature", "encoding": "base64"}
    ],
    "hubspot": [
        {"scheme": "hubspot", "secret": ["client_secret", "client_secret_previous"], "versions": [3, 2, 1]}
    ],
    "paypal": [
        {
            "scheme": "rsa_cert",
            "webhook_id": ["webhook_id", "webhook_id_previous"],
            "hosts": ["*.paypal.com"],
            "common_name": "*.paypal.com",
            "issuers": ["cacerts.digicert.com"],
        }
    ],
    "jira": [
        {
            "scheme": "hmac",
            "secret": _SECRETS,
            "header": "X-Hub-Signature",
            "format": "prefixed",
            "prefix": "sha256=",
        },
        {
            "scheme": "jwt",
            "algorithm": "HS256",
            "secret": ["connect_secret", "connect_secret_previous"],
            "prefix": "JWT ",
            "query": "jwt",
            "claims": {"iss": "connect_client_key"},
            "qsh": True,
        },
        {
            "scheme": "jwt",
            "algorithm": "HS256",
            "secret": ["client_secret", "client_secret_previous"],
            "prefix": "Bearer ",
            "expires": False,
        },
    ],
    "circleci": [
        {
            "scheme": "hmac",
            "secret": _SECRETS,
            "header": "circleci-signature",
            "format": "pairs",
            "pairs": {"signature": "v1"},
        }
    ],
    "salesforce": [
        {
            "scheme": "hmac",
            "secret": ["webhook_signature_key", "webhook_signature_key_previous"],
            "header": "x-sfmc-ens-signature",
            "encoding": "base64",
        },
        {"scheme": "organization", "organization_id": ["organization_id"]},
    ],
    "aws": [{"scheme": "sns", "topic": ["topic_arn"]}],
    "azure": [
        {"scheme": "token", "secret": _SECRETS, "header": "Authorization", "prefix": "Bearer "},
        {"scheme": "token", "secret": _SECRETS, "query": "token"},
    ],
    "gcp": [
        {
            "scheme": "jwt",
            "algorithm": "RS256",
            "keys": "https://www.googleapis.com/oauth2/v3/certs",
            "prefix": "Bearer ",
            "issuers": ["https://accounts.google.com", "accounts.google.com"],
            "claims": {"aud": "push_audience", "email": "push_account"},
            "fixed": {"email_verified": True},
        }
    ],
    "standard_webhooks": [{"scheme": "standard_webhooks", "secret": _SECRETS}],
    "square": [
        {
            "scheme": "hmac",
            "secret": _SECRETS,
            "header": "x-square-hmacsha256-signature",
            "encoding": "base64",
            "signed": "{url}{body}",
        }
    ],
    "basic": [
        {"scheme": "basic", "username": "username", "secret": ["password", "password_previous"]},
    ],
    "none": [{"scheme": "none", "reason": "The platform signs nothing."}],
}
