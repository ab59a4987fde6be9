"""The section history."""
