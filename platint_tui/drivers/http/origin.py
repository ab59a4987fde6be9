"""The origin rule: one place that decides where a request, and a credential with it, may go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urljoin, urlsplit

from platint_tui.core.errors import ConfigError, SystemicError
from platint_tui.manifest.hosts import matches_wildcard, origin

MAX_URL = 8192
TOKENS = "<tokens>"
"""The place of requests for tokens, beside those of `transport.endpoints`; no endpoint has such a name."""


class Origins:
    """Where requests with one credential of a profile may go, as `scheme://host:port`, compared before anything
    connects. `at` gives those of the endpoints, which may have a credential of their own.
    """

    def __init__(
        self,
        base_url: str,
        allowed: Iterable[str],
        entered_for: Iterable[str] = (),
        *,
        wildcards: Iterable[str] = (),
        downloads: Iterable[str] = (),
        others: Iterable[str] = (),
        places: Mapping[str, Callable[[], Origins]] | None = None,
        plain_http: bool = False,
    ) -> None:
        """`allowed` are origins of the manifest, `entered_for` those that the profile's credential is for,
        `wildcards` are hosts like `*.example.com`, `downloads` are origins and such wildcards for requests
        without the credential, `others` origins with another credential, which no wildcard stands for, `places`
        makes the origins of endpoints, `plain_http` is whether http is allowed to hosts other than this machine.

        Raises ConfigError for a base URL that is not usable or that the credential was not entered for.
        """
        self._plain_http = plain_http
        self._wildcards = tuple(wildcards)
        self._downloads = tuple(downloads)
        self._others = frozenset(others)
        self._places = dict(places or {})
        self._made: dict[str, Origins] = {}
        self.base = origin(base_url, plain_http=plain_http)
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
            self._wildcards = tuple(entry for entry in self._wildcards if entry in entered)

    def at(self, endpoint: str | None) -> Origins:
        """Where requests to an endpoint may go, or those for tokens (`TOKENS`).

        Raises ConfigError when its credential was not entered for its address.
        """
        make = self._places.get(endpoint) if endpoint is not None else None
        if endpoint is None or make is None:
            return self
        found = self._made.get(endpoint)
        if found is None:
            found = self._made[endpoint] = make()
        return found

    def permits(self, found: str) -> bool:
        """Whether requests with the credential may go to this origin."""
        if found in self.allowed:
            return True
        return found not in self._others and any(matches_wildcard(entry, found) for entry in self._wildcards)

    def follow(self, base: str, reference: str, what: str) -> str:
        """The absolute address that `reference` (from an answer of `base`) leads to.

        Raises SystemicError (code `origin`) when that is not where this profile's requests may go.
        """
        target, found = self._resolved(base, reference, what)
        if not self.permits(found):
            raise self._refused(base, what, reference, f"{found} is another origin.")
        return target

    def download(self, base: str, reference: str, what: str) -> tuple[str, bool]:
        """The address that `reference` leads to, and whether the credential may go there.

        Raises SystemicError (code `origin`) when it is neither one of the platform's nor of its downloads.
        """
        target, found = self._resolved(base, reference, what)
        if self.permits(found):
            return target, True
        if not any(found == item or matches_wildcard(item, found) for item in self._downloads):
            raise self._refused(base, what, reference, f"{found} is another origin.")
        return target, False

    def _resolved(self, base: str, reference: str, what: str) -> tuple[str, str]:
        """The absolute address of a reference, and its origin."""
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
            found = origin(f"{parts.scheme}://{parts.netloc}", plain_http=self._plain_http)
        except ConfigError as error:
            raise self._refused(base, what, reference, error.message) from None
        except ValueError as error:
            raise self._refused(base, what, reference, f"{error}.") from None
        return target, found

    def check(self, url: str, what: str) -> str:
        """`url`, when requests may go there. Raises ConfigError (code `origin`)."""
        found = origin(url, plain_http=self._plain_http)
        if not self.permits(found):
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
            hint="Only transport.base_url, its endpoints and transport.allowed_hosts are spoken to.",
            code="origin",
        )
