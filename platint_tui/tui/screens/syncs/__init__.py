"""The section syncs."""
