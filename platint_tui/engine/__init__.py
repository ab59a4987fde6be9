"""The engine: headless asyncio that runs syncs and replays over the store. One at a time per installation."""
