"""Kafka's error codes by name, and what they mean for the operator.

The numbers and names are those of the protocol guide (https://kafka.apache.org/protocol#protocol_error_codes).
"""

from __future__ import annotations

from typing import NamedTuple

from platint_tui.core.errors import (
    ConfigError,
    CredentialError,
    PlatintError,
    RecordError,
    SystemicError,
    TransientError,
)
from platint_tui.core.text import clean
from platint_tui.drivers.judged import by_rules
from platint_tui.drivers.kafka.address import Address

NAMES = {
    -1: "UNKNOWN_SERVER_ERROR",
    1: "OFFSET_OUT_OF_RANGE",
    2: "CORRUPT_MESSAGE",
    3: "UNKNOWN_TOPIC_OR_PARTITION",
    5: "LEADER_NOT_AVAILABLE",
    6: "NOT_LEADER_OR_FOLLOWER",
    7: "REQUEST_TIMED_OUT",
    8: "BROKER_NOT_AVAILABLE",
    9: "REPLICA_NOT_AVAILABLE",
    10: "MESSAGE_TOO_LARGE",
    13: "NETWORK_EXCEPTION",
    14: "COORDINATOR_LOAD_IN_PROGRESS",
    15: "COORDINATOR_NOT_AVAILABLE",
    16: "NOT_COORDINATOR",
    17: "INVALID_TOPIC_EXCEPTION",
    18: "RECORD_LIST_TOO_LARGE",
    19: "NOT_ENOUGH_REPLICAS",
    20: "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
    22: "ILLEGAL_GENERATION",
    25: "UNKNOWN_MEMBER_ID",
    27: "REBALANCE_IN_PROGRESS",
    29: "TOPIC_AUTHORIZATION_FAILED",
    30: "GROUP_AUTHORIZATION_FAILED",
    31: "CLUSTER_AUTHORIZATION_FAILED",
    32: "INVALID_TIMESTAMP",
    33: "UNSUPPORTED_SASL_MECHANISM",
    34: "ILLEGAL_SASL_STATE",
    35: "UNSUPPORTED_VERSION",
    36: "TOPIC_ALREADY_EXISTS",
    37: "INVALID_PARTITIONS",
    38: "INVALID_REPLICATION_FACTOR",
    41: "NOT_CONTROLLER",
    44: "POLICY_VIOLATION",
    45: "OUT_OF_ORDER_SEQUENCE_NUMBER",
    46: "DUPLICATE_SEQUENCE_NUMBER",
    47: "INVALID_PRODUCER_EPOCH",
    49: "INVALID_PRODUCER_ID_MAPPING",
    56: "KAFKA_STORAGE_ERROR",
    58: "SASL_AUTHENTICATION_FAILED",
    59: "UNKNOWN_PRODUCER_ID",
    74: "FENCED_LEADER_EPOCH",
    75: "UNKNOWN_LEADER_EPOCH",
    78: "OFFSET_NOT_AVAILABLE",
    87: "INVALID_RECORD",
    89: "THROTTLING_QUOTA_EXCEEDED",
}

OFFSET_OUT_OF_RANGE = 1
UNKNOWN_TOPIC = 3
TOPIC_EXISTS = 36
MOVED = frozenset({5, 6, 8, 9, 56, 74, 75, 78})
"""The partition is led by another broker now, or will be in a moment: ask for the metadata again."""
COORDINATOR_MOVED = frozenset({14, 15, 16})
AMBIGUOUS = frozenset({7, 13, 20})
"""A write that was answered so may have been appended."""
ABOUT_RECORDS = frozenset({2, 10, 18, 32, 87})
"""A write is refused because of a record in it; nothing of its batch was appended."""
PRODUCER_LOST = frozenset({45, 47, 49, 59})
"""The broker does not know the sequence numbers of this producer any more."""
DUPLICATE = 46
IN_USE = frozenset({22, 25, 27})
"""The group has members of its own, whose generation alone may commit offsets."""


class _Meaning(NamedTuple):
    kind: type[PlatintError]
    sentence: str
    hint: str = ""


_MEANINGS = {
    3: _Meaning(
        ConfigError,
        "There is no topic '{topic}' in this cluster, or this user may not see it.",
        "Create the topic, or grant the user DESCRIBE on it.",
    ),
    10: _Meaning(RecordError, "The message is larger than the topic takes (max.message.bytes)."),
    17: _Meaning(ConfigError, "The broker does not take '{topic}' as the name of a topic."),
    18: _Meaning(RecordError, "The message is larger than a segment of the topic (segment.bytes)."),
    2: _Meaning(
        RecordError, "The broker refuses the message as damaged or, in a compacted topic, without key."
    ),
    32: _Meaning(RecordError, "The broker refuses the timestamp of the message."),
    87: _Meaning(RecordError, "The broker refuses the message (a compacted topic takes none without a key)."),
    29: _Meaning(
        ConfigError,
        "The user may not {act} the topic '{topic}'.",
        "Grant it: kafka-acls --add --allow-principal User:{user} --operation {operation} --topic {topic}",
    ),
    30: _Meaning(
        ConfigError,
        "The user may not use the consumer group '{group}'.",
        "Grant it: kafka-acls --add --allow-principal User:{user} --operation Read --operation Describe"
        " --group {group}",
    ),
    31: _Meaning(
        ConfigError,
        "The cluster does not allow this user to do that.",
        "Grant it CREATE (for new topics) or DESCRIBE on the cluster: kafka-acls --add --allow-principal"
        " User:{user} --operation Create --operation Describe --cluster",
    ),
    33: _Meaning(
        ConfigError,
        "The broker does not offer the SASL mechanism {mechanism}.",
        "Choose another mechanism in the profile.",
    ),
    34: _Meaning(
        ConfigError,
        "This listener of the broker asks for no sign-in.",
        "Set the profile's security protocol to PLAINTEXT or SSL, or use the port of the SASL listener.",
    ),
    35: _Meaning(
        ConfigError, "The broker is too old for what is asked of it.", "Kafka 1.0 or newer is needed."
    ),
    37: _Meaning(ConfigError, "The broker refuses the number of partitions for '{topic}'."),
    38: _Meaning(
        ConfigError,
        "The broker refuses the replication factor for '{topic}'.",
        "Set `replication` of the connector's sink to no more than the number of brokers.",
    ),
    44: _Meaning(ConfigError, "A policy of the cluster forbids that for '{topic}'."),
    58: _Meaning(
        CredentialError,
        "The broker refuses the sign-in of '{user}'.",
        "Check user, password and mechanism of the profile.",
    ),
}
_TRANSIENT = MOVED | COORDINATOR_MOVED | AMBIGUOUS | PRODUCER_LOST | IN_USE | {19, 41, 89}


def name_of(code: int) -> str:
    """The name of an error code."""
    return NAMES.get(code, f"ERROR_{code}")


def error_of(
    code: int, address: Address, *, topic: str = "", group: str = "", act: str = "read", said: str = ""
) -> PlatintError:
    """What an error code means: the manifest's rules first, by the code's name, then what is known of it.

    `act` is what was tried with the topic (read, write to, create), `said` what the broker added.
    """
    operation = {"read": "Read", "write to": "Write", "create": "Create"}.get(act, "Describe")
    words = {
        "topic": clean(topic),
        "group": clean(group),
        "act": act,
        "operation": operation,
        "user": clean(address.user or "ANONYMOUS"),
        "mechanism": address.mechanism,
    }
    name = name_of(code)
    known = _MEANINGS.get(code)
    if known is not None:
        kind, sentence, hint = known.kind, known.sentence.format(**words), known.hint.format(**words)
    else:
        kind = TransientError if code in _TRANSIENT else SystemicError
        sentence, hint = f"The broker answers {name}.", ""
    if said:
        sentence = f"{sentence} It says: {clean(said).rstrip('.')}."
    return by_rules(kind(sentence, hint=hint, where=address.where, code=name), address.connector, name)
