"""How requests are signed: the credential goes where the manifest says, and nowhere else.

`open_auth` makes what signs; `login.open_login` is how a person signs in for the first time.
"""

from __future__ import annotations

from platint_tui.drivers.http.auth.base import Authorizer, Signed, Static, Unsigned
from platint_tui.drivers.http.auth.choose import open_auth

__all__ = ["Authorizer", "Signed", "Static", "Unsigned", "open_auth"]
