"""The section dashboard."""
