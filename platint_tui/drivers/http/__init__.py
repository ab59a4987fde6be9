"""The http driver: any JSON API that a manifest describes, read page by page and written row by row.

`driver` puts the parts together: `transport` and `client` (one exchange), `origin` (where it may go), `body`
(what came back), `auth`, `rules` and `calls` (what an error means, trying again), `pagination`, `positions`
and `partitions` (where reading goes on), `reader`, `writer`, `check`, `discover`, and `replay` (recorded
exchanges).
"""

from platint_tui.drivers.http.driver import HttpDriver, open_http

__all__ = ["HttpDriver", "open_http"]
