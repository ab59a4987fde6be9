"""The origin rule: one place that decides where a request, and a credential with it, may go."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urljoin, urlsplit

from platint_tui.core.errors import ConfigError, SystemicError
from platint_tui.manifest.hosts import origin

MAX_URL = 8192


class Origins:
    """Where one profile's requests may go, as `scheme://host:port`, compared before anything connects."""

    def __init__(self, base_url: str, allowed: Iterable[str], entered_for: Iterable[str] = ()) -> None:
        """`allowed` are origins of the manifest, `entered_for` those that the profile's credential is for.

        Raises ConfigError for a base URL that is not usable or that the credential was not entered for.
        """
        self.base = origin(base_url)
        self.allowed = frozenset(allowed) or frozenset({self.base})
        if self.base not in self.allowed:
            raise ConfigError(
                f"The base URL leads to {self.base}, which is not among the allowed hosts of the connector.",
                hint="Name it in transport.allowed_hosts.",
                code="origin",
            )
        entered = frozenset(entered_for)
        if entered:
            if self.base not in entered:
                raise ConfigError(
                    f"The credential of this profile was entered for {', '.join(sorted(entered))}, "
                    f"not for {self.base}.",
                    hint="Edit the profile and enter the credential again if that is meant.",
                    code="origin",
                )
            self.allowed &= entered

    def follow(self, base: str, reference: str, what: str) -> str:
        """The absolute address that `reference` (from an answer of `base`) leads to.

        Raises SystemicError (code `origin`) when that is not where this profile's requests may go.
        """
        reference = reference.strip(" \t")
        try:
            if len(reference) > MAX_URL:
                raise ValueError("it is longer than 8 KiB")
            if not reference.isascii() or any(char <= " " or char in '\\\x7f"<>' for char in reference):
                raise ValueError("it holds a character that no address has")
            written = urlsplit(reference)
            if written.scheme and not written.netloc:
                raise ValueError("it has no host")
            target = urljoin(base, reference).partition("#")[0]
            parts = urlsplit(target)
            found = origin(f"{parts.scheme}://{parts.netloc}")
        except ConfigError as error:
            raise self._refused(base, what, reference, error.message) from None
        except ValueError as error:
            raise self._refused(base, what, reference, f"{error}.") from None
        if found not in self.allowed:
            raise self._refused(base, what, reference, f"{found} is another origin.")
        return target

    def check(self, url: str, what: str) -> str:
        """`url`, when requests may go there. Raises ConfigError (code `origin`)."""
        found = origin(url)
        if found not in self.allowed:
            raise ConfigError(
                f"The {what} leads to {found}, which is not among the allowed hosts of the connector.",
                hint="Name it in transport.allowed_hosts.",
                code="origin",
            )
        return url

    def _refused(self, base: str, what: str, reference: str, reason: str) -> SystemicError:
        shown = reference.partition("?")[0].partition("@")[0][:120]
        return SystemicError(
            f"{urlsplit(base).hostname} sent a {what} to '{shown}' that is not followed: {reason}",
            hint="Only transport.base_url and transport.allowed_hosts are spoken to.",
            code="origin",
        )
