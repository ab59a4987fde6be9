"""The error rules of a manifest over the native codes of a database."""

from __future__ import annotations

from platint_tui.core.errors import (
    ConfigError,
    CredentialError,
    ErrorClass,
    PlatintError,
    RecordError,
    SystemicError,
    TransientError,
)
from platint_tui.manifest.schema import Connector
from platint_tui.manifest.vectors import rule_for_code

_TYPES: dict[ErrorClass, type[PlatintError]] = {
    ErrorClass.CONFIG: ConfigError,
    ErrorClass.AUTH: CredentialError,
    ErrorClass.TRANSIENT: TransientError,
    ErrorClass.RECORD: RecordError,
    ErrorClass.SYSTEMIC: SystemicError,
}


def by_rules(error: PlatintError, connector: Connector, native: str) -> PlatintError:
    """`error` as the first rule that names the `native` code wants it: its class, and its hint if it has one.

    Without such a rule the driver's own judgement stays.
    """
    rule = rule_for_code(connector, native) if native else None
    if rule is None:
        return error
    hint = rule.hint or error.hint
    wanted = _TYPES.get(rule.class_, type(error)) if rule.class_ else type(error)
    if isinstance(error, wanted):
        error.hint = hint
        return error
    return wanted(error.message, hint=hint, where=error.where, code=error.code)
