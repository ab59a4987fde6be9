"""The console: the only package that imports textual. It calls services and core only."""
