"""The section settings."""
