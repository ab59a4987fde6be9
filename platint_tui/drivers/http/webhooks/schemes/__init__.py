"""The schemes by which a sender is known, each in code once; vendors are data over them."""

from __future__ import annotations

from platint_tui.drivers.http.webhooks.schemes.addresses import HubspotCheck, TwilioCheck
from platint_tui.drivers.http.webhooks.schemes.base import Check
from platint_tui.drivers.http.webhooks.schemes.hashes import HmacCheck, StandardWebhooksCheck
from platint_tui.drivers.http.webhooks.schemes.jwts import JwtCheck
from platint_tui.drivers.http.webhooks.schemes.publickeys import EcdsaCheck, Ed25519Check
from platint_tui.drivers.http.webhooks.schemes.signedby import RsaCertCheck, SnsCheck
from platint_tui.drivers.http.webhooks.schemes.texts import (
    BasicCheck,
    NoCheck,
    OrganizationCheck,
    TokenCheck,
)
from platint_tui.manifest import verifying

__all__ = ["Check", "check_of"]


def check_of(scheme: verifying.Verify) -> Check:
    """The check that a scheme of a manifest stands for."""
    match scheme:
        case verifying.HmacScheme():
            return HmacCheck(scheme)
        case verifying.StandardWebhooksScheme():
            return StandardWebhooksCheck(scheme)
        case verifying.Ed25519Scheme():
            return Ed25519Check(scheme)
        case verifying.EcdsaScheme():
            return EcdsaCheck(scheme)
        case verifying.TwilioScheme():
            return TwilioCheck(scheme)
        case verifying.HubspotScheme():
            return HubspotCheck(scheme)
        case verifying.RsaCertScheme():
            return RsaCertCheck(scheme)
        case verifying.SnsScheme():
            return SnsCheck(scheme)
        case verifying.JwtScheme():
            return JwtCheck(scheme)
        case verifying.TokenScheme():
            return TokenCheck(scheme)
        case verifying.BasicScheme():
            return BasicCheck(scheme)
        case verifying.OrganizationScheme():
            return OrganizationCheck(scheme)
        case verifying.NoneScheme():
            return NoCheck(scheme)
