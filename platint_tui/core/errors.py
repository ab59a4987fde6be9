"""The errors of the program: the type decides what happens, never the text of a message.

Every error carries one sentence for a person (`message`), what to do about it (`hint`), and where it
happened (`where`: a file with line, a host, a field). A message holds no secret and no traceback.
"""

from __future__ import annotations

from enum import StrEnum

_ENDS = (".", "!", "?", "…", ":", ".)", ".'", '."')


def joined(said: str, hint: str) -> str:
    """What was said, which may be a platform's words, and what to do about it: sentences in one line."""
    if not said or not hint:
        return said or hint
    return f"{said}{'' if said.endswith(_ENDS) else '.'} {hint}"


class ErrorClass(StrEnum):
    """Whose fault a failure is, which decides what is done about it."""

    CONFIG = "config"
    AUTH = "auth"
    RATE_LIMITED = "rate_limited"
    TRANSIENT = "transient"
    RECORD = "record"
    SYSTEMIC = "systemic"


class ExitCode:
    """Exit codes of the command line (the contract is in the README)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    DEAD_LETTERS = 3
    CONFIG = 4
    CREDENTIALS = 5
    RATE_LIMITED = 6
    BREAKING = 7
    INTERRUPTED = 130


class PlatintError(Exception):
    """Base of every error that is shown to a person: one sentence, a place, and what to do."""

    error_class: ErrorClass = ErrorClass.SYSTEMIC
    exit_code: int = ExitCode.FAILED
    code: str = "error"

    def __init__(self, message: str, *, hint: str = "", where: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where
        if code:
            self.code = code

    def sentence(self) -> str:
        """The error as one line: where, what, and what to do."""
        head = f"{self.where}: {self.message}" if self.where else self.message
        return joined(head, self.hint)


class UsageError(PlatintError):
    """The command or its arguments are wrong."""

    error_class = ErrorClass.CONFIG
    exit_code = ExitCode.USAGE
    code = "usage"


class ConfigError(PlatintError):
    """A manifest, an integration, a profile, a folder or a database is not usable as it is."""

    error_class = ErrorClass.CONFIG
    exit_code = ExitCode.CONFIG
    code = "config"


class NotFound(ConfigError):
    """A named thing does not exist."""

    code = "not_found"


class CredentialError(PlatintError):
    """A secret is missing, locked away, or was refused by the platform."""

    error_class = ErrorClass.AUTH
    exit_code = ExitCode.CREDENTIALS
    code = "credentials"


class RateLimited(PlatintError):
    """The platform asked to wait longer than a worker should: the run is parked until `until_ms`."""

    error_class = ErrorClass.RATE_LIMITED
    exit_code = ExitCode.RATE_LIMITED
    code = "rate_limited"

    def __init__(self, message: str, *, until_ms: int, hint: str = "", where: str = "") -> None:
        super().__init__(message, hint=hint, where=where)
        self.until_ms = until_ms


class TransientError(PlatintError):
    """A failure that may go away by itself (network, timeout, 5xx); the retry budget is spent."""

    error_class = ErrorClass.TRANSIENT
    code = "transient"


class RecordError(PlatintError):
    """One record is refused; the others go on."""

    error_class = ErrorClass.RECORD
    code = "record"


class SystemicError(PlatintError):
    """An answer, a page or a target is not what was agreed; going on could lose data."""

    error_class = ErrorClass.SYSTEMIC
    code = "systemic"


class BlockRefused(PlatintError):
    """A target cannot write a block as it came; nothing of it was written, and its records go one by one."""

    code = "block_refused"


class PositionLost(PlatintError):
    """The platform no longer has what follows the position (a dropped slot, expired log, removed topic).

    The stream stops until an operator says how it goes on: read everything again, or go on from now with a
    recorded gap.
    """

    error_class = ErrorClass.CONFIG
    exit_code = ExitCode.CONFIG
    code = "position_lost"


class UnknownOutcome(PlatintError):
    """A write was sent and its answer lost; it may have been carried out."""

    error_class = ErrorClass.TRANSIENT
    code = "unknown_outcome"


class StoreError(PlatintError):
    """The local database cannot be read or written; nothing was changed."""

    code = "store"


class Fenced(PlatintError):
    """Another engine took this run over (its epoch is newer); this one must not write."""

    code = "fenced"
