"""The command line: every verb of the console for scripts and for people who use a screen reader."""
