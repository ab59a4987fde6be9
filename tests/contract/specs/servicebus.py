"""Azure Service Bus: messages (endpoints written down by hand from Microsoft's documentation) and the management of
entities, as Atom documents (operations and models parsed from Microsoft's own Python client).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from contract.specs.view import Operation, Param

_TEXT = {"type": "string"}
# fmt: off
_BROKER = (
    "ContentType", "CorrelationId", "DeliveryCount", "EnqueuedSequenceNumber", "EnqueuedTimeUtc",
    "ForcePersistence", "Label", "LockToken", "LockedUntilUtc", "MessageId", "PartitionKey", "ReplyTo",
    "ReplyToSessionId", "ScheduledEnqueueTimeUtc", "SequenceNumber", "SessionId", "Size", "State",
    "TimeToLive", "To", "ViaPartitionKey",
)
# fmt: on
"""BrokerProperties (learn.microsoft.com/rest/api/servicebus/message-headers-and-properties)."""
_BATCH = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["Body"],
        "properties": {
            "Body": {},
            "BrokerProperties": {"type": "object", "properties": {name: {} for name in _BROKER}},
            "UserProperties": {"type": "object", "additionalProperties": {}},
        },
    },
}


def messages(table: Mapping[str, Any], name: str) -> Iterator[Operation]:
    """Sending and receiving. A batch is a list of messages as JSON, a single one any body."""
    for entry in table["endpoints"]:
        success = entry.get("success", 200)
        statuses = success if isinstance(success, list) else [success]
        headers = [item.partition(":")[0].lower() for item in entry.get("headers", ())]
        body: dict[str, Any] = {}
        if entry["path"].endswith("/messages"):
            batch = "JSON array" in entry.get("note", "")
            body = {"application/vnd.microsoft.servicebus.json": _BATCH} if batch else {"text/plain": {}}
        yield Operation(
            document=name,
            method=entry["method"],
            paths=(
                entry["path"].replace("{queueOrTopic}", "{+queueOrTopic}").replace("{queue}", "{+queue}"),
            ),
            hosts=("{namespace}.servicebus.windows.net",),
            query={item: Param({"type": "integer"}) for item in entry.get("query", ())},
            header={item: Param(_TEXT) for item in (*headers, "brokerproperties")},
            body=body,
            answers={str(status): {"*/*": {}} for status in statuses},
            answer_headers=tuple(item.lower() for item in entry.get("response_headers", ())) or None,
        )


_MODELS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "entity": (("QueueDescriptionEntry", "TopicDescriptionEntry"), ("CreateQueueBody", "CreateTopicBody")),
    "list_entities": (("QueueDescriptionFeed", "TopicDescriptionFeed"), ()),
    "list_subscriptions": (("SubscriptionDescriptionFeed",), ()),
    "list_rules": (("RuleDescriptionFeed",), ()),
    "subscription": (("SubscriptionDescriptionEntry",), ("CreateSubscriptionBody",)),
    "rule": (("RuleDescriptionEntry",), ("CreateRuleBody",)),
    "namespace": (("NamespacePropertiesEntry",), ()),
}
"""The models of an operation's answer and body (operations/_operations.py of the client)."""


def management(table: Mapping[str, Any], models: Mapping[str, Any], name: str) -> Iterator[Operation]:
    """Queues, topics, subscriptions and rules. An answer is a tree below its root element, a body has that in it."""
    for path, entry in table["paths"].items():
        for method, said in entry.items():
            operation = said["op"].removeprefix("service_bus_management_")
            word = operation if operation.startswith("list_") else operation.split("_")[0]
            answers, bodies = _MODELS[word]
            written = [{"type": "object", "properties": {"entry": _tree(models, item)}} for item in bodies]
            yield Operation(
                document=name,
                method=method.upper(),
                paths=(path.replace("{entityName}", "{+entityName}").replace("{topicName}", "{+topicName}"),),
                hosts=("{namespace}.servicebus.windows.net",),
                path={"entityType": Param({"type": "string", "enum": ["queues", "topics"]})},
                query={item: Param({}) for item in said["query"]},
                header={item.lower(): Param(_TEXT) for item in said["headers"]},
                body={"application/atom+xml": {"anyOf": written}} if method == "put" else {},
                answers={
                    "2XX": {"application/atom+xml": {"anyOf": [_tree(models, item) for item in answers]}}
                },
            )


def _tree(models: Mapping[str, Any], name: str, depth: int = 0) -> dict[str, Any]:
    """A model as the tree that its XML is. A title is a text with its type (RFC 4287)."""
    model = models["models"].get(name)
    if model is None or depth > 8:
        return {}
    properties: dict[str, Any] = {"@xmlns": {}}
    for member, said in model["members"].items():
        inner = models["models"].get(said["type"], {})
        schema = _tree(models, said["type"], depth + 1)
        if member == "title":
            schema = {"type": "object", "properties": {"#text": {}, "@type": {}}}
        if "many" in said:
            schema = {"type": "array", "items": schema}
        properties[member if "many" in said else inner.get("xml", member)] = schema
    return {"type": "object", "properties": properties}
