"""Modal screens: confirm, ask, help, palette, quit."""
