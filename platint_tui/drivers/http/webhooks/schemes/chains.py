"""X.509: the key of a certificate, and whether a chain leads to an authority that is known."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import certifi
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from platint_tui.drivers.http.webhooks.schemes.base import same_address

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
MAX_CHAIN = 8
"""Certificates in one file."""


class BadCertificate(Exception):
    """A certificate that is not trusted; the text says why, without its subject."""


@dataclass(frozen=True, slots=True)
class Trusted:
    """The key of a certificate whose chain is good from `since` to `until` (epoch seconds)."""

    key: rsa.RSAPublicKey
    since: float
    until: float


def certificates_of(data: bytes) -> list[x509.Certificate]:
    """The certificates of a PEM file, or the one of DER bytes. Raises BadCertificate."""
    try:
        if b"-----BEGIN" not in data:
            return [x509.load_der_x509_certificate(data)]
        found = x509.load_pem_x509_certificates(data)
    except ValueError:
        raise BadCertificate("what is found there is no certificate") from None
    if len(found) > MAX_CHAIN:
        raise BadCertificate(f"there are more than {MAX_CHAIN} certificates in it")
    return found


@lru_cache(maxsize=64)
def key_of(data: bytes) -> rsa.RSAPublicKey:
    """The RSA key of the (first) certificate, whatever its chain. Raises BadCertificate."""
    return _rsa_key(certificates_of(data)[0])


def _rsa_key(certificate: x509.Certificate) -> rsa.RSAPublicKey:
    try:
        key = certificate.public_key()
    except ValueError:
        raise BadCertificate("its key cannot be read") from None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 2048:
        raise BadCertificate("its key is no RSA key of at least 2048 bits")
    return key


def trusted(data: bytes, common_name: str, now: float, authorities: bytes) -> Trusted:
    """The key of the first certificate, when it is valid at `now` (epoch seconds), is for a `common_name` and its
    chain leads to one of `authorities` (PEM; those that are shipped when empty). Raises BadCertificate.
    """
    name = (data, common_name, authorities)
    known = _KNOWN.get(name)
    if known is None or not known.since <= now <= known.until:
        known = _verified(data, common_name, now, authorities)
        if len(_KNOWN) >= _MAX_KNOWN:
            _KNOWN.clear()
        _KNOWN[name] = known
    return known


_KNOWN: dict[tuple[bytes, str, bytes], Trusted] = {}
_MAX_KNOWN = 64


def _verified(data: bytes, common_name: str, now: float, authorities: bytes) -> Trusted:
    leaf, *others = certificates_of(data)
    names = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = names[0].value if len(names) == 1 else ""
    if not isinstance(name, str) or not same_address(name, common_name):
        raise BadCertificate(f"its common name is not under {common_name.removeprefix('*.')}")
    moment = datetime.fromtimestamp(now, UTC)
    if not leaf.not_valid_before_utc <= moment <= leaf.not_valid_after_utc:
        raise BadCertificate(
            f"it is valid from {leaf.not_valid_before_utc:%Y-%m-%d} to {leaf.not_valid_after_utc:%Y-%m-%d}, not now"
        )
    key = _rsa_key(leaf)
    try:
        policy = PolicyBuilder().store(_store(authorities)).time(moment).max_chain_depth(MAX_CHAIN)
        chain = policy.build_server_verifier(x509.DNSName(name)).verify(leaf, others)
    except (VerificationError, ValueError):
        text = (
            "its chain leads to no known authority" if others else "the certificate of its issuer is missing"
        )
        raise BadCertificate(text) from None
    since = max(item.not_valid_before_utc for item in chain).timestamp()
    return Trusted(key, since, min(item.not_valid_after_utc for item in chain).timestamp())


@lru_cache(maxsize=4)
def _authorities(pem: bytes) -> list[x509.Certificate]:
    """Those that can be read: an old authority with an odd serial number is no reason to trust none."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for item in _PEM.findall(pem or certifi.contents().encode()):
            try:
                found.append(x509.load_pem_x509_certificate(item))
            except ValueError:
                continue
    return found


@lru_cache(maxsize=4)
def _store(pem: bytes) -> Store:
    return Store(_authorities(pem))


def missing_issuer(data: bytes, authorities: bytes) -> str | None:
    """Where the certificate of the last one's issuer is, when it is no authority itself and says so (RFC 5280,
    4.2.2.1); always as https, because what is found is checked by its signature anyway. Raises BadCertificate.
    """
    last = certificates_of(data)[-1]
    known = {item.subject for item in _authorities(authorities)}
    if last.issuer == last.subject or last.issuer in known:
        return None
    try:
        access = last.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (x509.ExtensionNotFound, ValueError):
        return None
    for item in access:
        place = item.access_location
        if item.access_method == AuthorityInformationAccessOID.CA_ISSUERS and isinstance(
            place, x509.UniformResourceIdentifier
        ):
            return place.value.replace("http://", "https://", 1)
    return None


def as_pem(data: bytes) -> bytes:
    """The same certificates as PEM. Raises BadCertificate."""
    return b"".join(item.public_bytes(Encoding.PEM) for item in certificates_of(data))
