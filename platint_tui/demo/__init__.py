"""Three demo platforms as real HTTP servers on loopback: payments, crm and chat.

They know nothing of the engine; each is described by a manifest like any other platform. Run them with
`python -m platint_tui.demo`, which reads its settings from standard input (`platint_tui.demo.server`).
"""
