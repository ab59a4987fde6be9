"""The section profiles."""
