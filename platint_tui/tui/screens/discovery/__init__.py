"""The section discovery."""
