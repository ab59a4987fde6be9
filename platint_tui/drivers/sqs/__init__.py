"""The sqs driver: Amazon SQS, its requests through the http driver and its queues consumed.

`driver` puts the parts together: `api` (one signed request each), `queues` (addresses, depth, redrive policies),
`records` (messages as records and rows as entries), `consumer` (receiving, hiding, acknowledging), `target`
(sending) and `letters` (dead-letter queues).
"""

from platint_tui.drivers.sqs.driver import SqsDriver, open_sqs

__all__ = ["SqsDriver", "open_sqs"]
