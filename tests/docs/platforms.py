"""The README's table of platforms, made from the manifests and from `verified.yaml`.

`python tests/docs/platforms.py` writes it into README.md; a test compares.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from platint_tui.manifest.kinds import kind_of
from platint_tui.manifest.registry import Registry
from platint_tui.manifest.schema import Connector, Resource
from platint_tui.manifest.signin import choices
from platint_tui.manifest.subscribing import can_compare

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- platforms: made by tests/docs/platforms.py -->\n", "<!-- /platforms -->"
_WAYS = {
    "bearer": "Token",
    "api_key": "API key",
    "aws_sigv4": "Access key, assumed role",
    "client_credentials": "Client credentials",
}
_WRITES = ("create", "upsert", "update", "delete")


def table() -> str:
    """The table as Markdown."""
    registry = Registry([ROOT / "connectors"])
    verified: dict[str, str] = yaml.safe_load((Path(__file__).parent / "verified.yaml").read_text())
    names = [name for name in registry.list() if not name.startswith("demo-")]
    lines = [
        "| platform | signs in by | reads | writes | webhooks | tested against |",
        "|---|---|---|---|---|---|",
    ]
    for connector in sorted((registry.get(name) for name in names), key=lambda item: item.name.lower()):
        cells = (
            connector.name,
            _auth(connector),
            _reads(connector),
            _writes(connector),
            _webhooks(connector),
        )
        lines.append(f"| {' | '.join(cells)} | {verified[connector.platform]} |")
    return "\n".join(lines) + "\n"


def _auth(connector: Connector) -> str:
    if connector.auth.type == "driver":
        return "connection"
    ways = [way.label or _WAYS[getattr(way, "grant", way.type)] for way in choices(connector.auth)]
    return ", ".join(dict.fromkeys(ways)).replace("|", "/")


def _reads(connector: Connector) -> str:
    names = [name for name, item in connector.resources.items() if item.read or item.source]
    fixed = [name for name in names if not name.endswith("*")]
    words = [_counted(len(fixed), "stream")] if fixed else []
    if len(fixed) < len(names):
        words.append("what the account has")
    modes = [mode for item in connector.resources.values() if item.source for mode in item.source.modes]
    return f"{' and '.join(words)}{': ' if modes else ''}{', '.join(dict.fromkeys(modes))}"


def _writes(connector: Connector) -> str:
    if kind_of(connector.driver).tables:
        return "tables: upsert, delete"
    written = [item for item in connector.resources.values() if item.write]
    if not written:
        return ""
    operations = [word for word in _WRITES if any(_has(item, word) for item in written)]
    if not kind_of(connector.driver).http:
        return f"what the account has: {', '.join(operations)}"
    bulk = any(_bulk(item) for item in written)
    return f"{_counted(len(written), 'resource')}: {', '.join(operations)}{', in bulk' if bulk else ''}"


def _webhooks(connector: Connector) -> str:
    hooks = connector.webhooks
    if hooks is None:
        return "no"
    words = ["received"]
    if any(way.create is not None for way in hooks.subscribe or ()):
        words.append("registered")
    if can_compare(hooks.missed):
        words.append("compared")
    return ", ".join(words)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _has(resource: Resource, operation: str) -> bool:
    return resource.write is not None and getattr(resource.write, operation) is not None


def _bulk(resource: Resource) -> bool:
    write = resource.write
    operations = [getattr(write, word) for word in _WRITES] if write else []
    return any(operation is not None and operation.bulk for operation in operations)


def main() -> None:
    """Put the table into README.md."""
    readme = ROOT / "README.md"
    text = readme.read_text()
    head, rest = text.split(BEGIN)
    readme.write_text(head + BEGIN + table() + END + rest.split(END, 1)[1])


if __name__ == "__main__":
    main()
