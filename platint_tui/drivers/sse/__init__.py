"""Server-Sent Events: feeds that are read as they come, over the transport of the http driver.

`parser` (bytes to events), `exchange` (a request whose answer does not end), `reader` (pages and positions) and
`driver`.
"""

from platint_tui.drivers.sse.driver import SseDriver, open_sse

__all__ = ["SseDriver", "open_sse"]
