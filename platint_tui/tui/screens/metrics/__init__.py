"""The section metrics."""
