"""How to talk to a platform. Drivers yield records and raise typed errors; the engine decides and persists."""
