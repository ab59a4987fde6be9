"""The section events."""
