"""The section dead letters."""
