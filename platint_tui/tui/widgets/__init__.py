"""Widgets that know nothing of the program: tables, payloads, charts and forms over plain values."""
