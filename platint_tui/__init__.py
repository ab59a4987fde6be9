"""A terminal console for the person who keeps platform integrations running."""

__version__ = "0.1.0"
