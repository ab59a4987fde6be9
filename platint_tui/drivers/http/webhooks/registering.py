"""Webhooks at a platform: made, listed, paused and removed by the requests of the manifest's `webhooks.subscribe`."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from dataclasses import replace

from platint_tui.core.errors import ConfigError, PlatintError, SystemicError
from platint_tui.core.model import Json
from platint_tui.core.secret import Secret
from platint_tui.core.subscriptions import MadeWebhook, RemoteWebhook, WantedWebhook
from platint_tui.drivers.http.client import Answer
from platint_tui.drivers.http.documents import tree_of, words
from platint_tui.drivers.http.matching import body_holds
from platint_tui.drivers.http.session import Session
from platint_tui.drivers.http.webhooks.asking import NAME, ask, pages, scope_of
from platint_tui.drivers.http.webhooks.events import time_ms
from platint_tui.manifest import schema
from platint_tui.manifest.subscribing import Registered, Subscribe, subscribe_way
from platint_tui.manifest.template import lookup, render

MAX_LISTED = 10_000


class Registrar:
    """The webhooks of one account (`ports.Registers`)."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._host = session.caller.host

    def _way(self, scope: Mapping[str, str]) -> Subscribe:
        connector = self._session.context.connector
        ways = connector.webhooks.subscribe if connector.webhooks is not None else ()
        return subscribe_way(ways, scope, connector.name)

    async def create(self, wanted: WantedWebhook) -> MadeWebhook:
        """Make a webhook; see `ports.Registers`."""
        way = self._way(wanted.scope)
        if way.create is None:
            raise ConfigError(f"{self._host} has no API to register webhooks.", hint=" ".join(way.by_hand))
        scope = scope_of(self._session, wanted)
        if way.prepare is not None:
            await ask(self._session, way.prepare, scope, "prepare")
        answer = await ask(self._session, way.create, scope, "create")
        tree = tree_of(answer)
        self._refuse_failed(way, tree)
        if way.id_is is not None:
            remote = str(render(way.id_is, scope, "header"))
        else:
            found = lookup(tree, way.id_from or "")
            remote = _text(found)
            if not remote:
                raise SystemicError(
                    f"{self._host} made the webhook, and its answer has no id at '{way.id_from}'.",
                    where=NAME,
                    code="no_id",
                )
        made = RemoteWebhook(remote, wanted.url, wanted.types, True, expires_ms=self._expiry(way, tree))
        return MadeWebhook(made, await self._secret(way, wanted, remote, tree), _kept(way, tree))

    async def _secret(self, way: Subscribe, wanted: WantedWebhook, remote: str, tree: Json) -> Secret | None:
        """The signing secret that the platform made with the webhook, None where it is known already."""
        if way.secret_from is None or way.secret_first:
            return None
        if way.secret_request is not None:
            try:
                return await self.secret(replace(wanted, remote_id=remote))
            except PlatintError as error:
                error.hint = f"The webhook {remote} was made. {error.hint}".strip()
                error.code = "no_secret"
                raise
        return self._secret_in(way, tree)

    async def secret(self, webhook: WantedWebhook) -> Secret:
        """The signing secret, asked for; see `ports.Registers`."""
        way = self._way(webhook.scope)
        if way.secret_request is None:
            raise ConfigError(f"{self._host} tells no signing secret.", code="not_offered")
        answer = await ask(self._session, way.secret_request, scope_of(self._session, webhook), "secret")
        return self._secret_in(way, tree_of(answer))

    def _secret_in(self, way: Subscribe, tree: Json) -> Secret:
        value = lookup(tree, way.secret_from or "")
        if not isinstance(value, str) or not value:
            raise SystemicError(
                f"An answer of {self._host} has no signing secret at '{way.secret_from}'.",
                where=NAME,
                code="no_secret",
            )
        return Secret(value)

    async def list(self, webhook: WantedWebhook) -> Sequence[RemoteWebhook]:
        """The webhooks that the platform has; see `ports.Registers`."""
        listed = self._way(webhook.scope).list
        if listed is None:
            raise ConfigError(f"{self._host} does not list its webhooks.", code="no_subscribe")
        return await self._listed(listed, webhook)

    async def address(self, webhook: WantedWebhook) -> str:
        """The only address that is called now; see `ports.Registers`."""
        way = self._way(webhook.scope)
        told = way.address or way.list
        if not way.replaces or told is None:
            return ""
        return next((item.url for item in await self._listed(told, webhook) if item.url), "")

    async def _listed(self, listed: Registered, webhook: WantedWebhook) -> Sequence[RemoteWebhook]:
        scope = scope_of(self._session, webhook)
        if listed.items is None:
            try:
                tree = tree_of(await ask(self._session, listed.request, scope, "list"))
            except PlatintError as error:
                if error.code == "gone":
                    return []
                raise
            return [_remote(listed, tree)] if isinstance(tree, Mapping) else []
        read = schema.Read(
            request=listed.request,
            records=listed.items,
            format=listed.format,
            page=listed.page,
            optional=listed.optional,
        )
        found: builtins.list[RemoteWebhook] = []
        async for records in pages(self._session, read, scope):
            found += [_remote(listed, item.value) for item in records]
            if len(found) > MAX_LISTED:
                raise SystemicError(f"{self._host} has more than {MAX_LISTED:,} webhooks.", where=NAME)
        return [item for item in found if item.id]

    async def pause(self, webhook: WantedWebhook) -> None:
        """Have the platform keep it and send nothing; see `ports.Registers`."""
        await self._change(self._way(webhook.scope).pause, webhook, "pause", "cannot pause a webhook")

    async def resume(self, webhook: WantedWebhook) -> None:
        """Have the platform send again; see `ports.Registers`."""
        await self._change(self._way(webhook.scope).resume, webhook, "resume", "cannot resume a webhook")

    async def remove(self, webhook: WantedWebhook) -> None:
        """Remove it; one that is gone is removed. See `ports.Registers`."""
        try:
            await self._change(self._way(webhook.scope).remove, webhook, "remove", "cannot remove a webhook")
        except PlatintError as error:
            if error.code != "gone":
                raise

    async def renew(self, webhook: WantedWebhook) -> int | None:
        """Have it live longer; see `ports.Registers`."""
        way = self._way(webhook.scope)
        answer = await self._change(way.renew, webhook, "renew", "has no webhooks that are renewed")
        return self._expiry(way, tree_of(answer))

    async def _change(
        self, request: schema.Request | None, webhook: WantedWebhook, what: str, cannot: str
    ) -> Answer:
        if request is None:
            raise ConfigError(
                f"The API of {self._host} {cannot}.",
                hint="`platint-tui events pause` and `disable` work here, without the platform.",
                code="not_offered",
            )
        answer = await ask(self._session, request, scope_of(self._session, webhook), what)
        self._refuse_failed(self._way(webhook.scope), tree_of(answer))
        return answer

    def _refuse_failed(self, way: Subscribe, tree: Json) -> None:
        """Raise SystemicError for an answer that is a success by its status and none by its words."""
        for path in way.error_from:
            said = words(lookup(tree, path))
            if said:
                raise SystemicError(f"{self._host} refused: {said}", where=NAME, code="refused")

    def _expiry(self, way: Subscribe, tree: Json) -> int | None:
        told = _moment(lookup(tree, way.expires_from)) if way.expires_from else None
        if told is None and way.expires_after is not None:
            return self._session.context.clock.now_ms() + int(way.expires_after * 1000)
        return told


def _kept(way: Subscribe, tree: Json) -> dict[str, str]:
    return {name: text for name, path in way.keep.items() if (text := _text(lookup(tree, path)))}


def _remote(listed: Registered, item: Mapping[str, Json]) -> RemoteWebhook:
    active = None if listed.active is None else body_holds(listed.active, item)
    url = _text(lookup(item, listed.url)) if listed.url else ""
    if listed.url and not url:
        active = False  # without an address nothing is sent
    return RemoteWebhook(
        id=_text(lookup(item, listed.id)),
        url=url,
        types=_types(listed, item),
        active=active,
        confirmed=listed.confirmed is None or body_holds(listed.confirmed, item),
        expires_ms=_moment(lookup(item, listed.expires)) if listed.expires else None,
    )


def _moment(value: Json) -> int | None:
    """A time in an answer: epoch milliseconds, or ISO 8601."""
    return time_ms(_text(value), "epoch_ms" if isinstance(value, int) else "iso8601")


def _types(listed: Registered, item: Mapping[str, Json]) -> tuple[str, ...]:
    value = lookup(item, listed.types) if listed.types else None
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Mapping):
        return tuple(name for name, on in value.items() if on is True)
    if isinstance(value, list | tuple):
        named = [lookup(one, listed.type) for one in value] if listed.type else value
        return tuple(text for text in map(_text, named) if text)
    return ()


def _text(value: Json) -> str:
    if isinstance(value, bool) or value is None:
        return ""
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else ""
