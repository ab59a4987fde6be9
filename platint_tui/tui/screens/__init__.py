"""One package per section of the console."""
