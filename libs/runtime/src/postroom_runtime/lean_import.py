"""Imports of libraries without the parts of them that a service never uses."""

import sys
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def without(*modules: str) -> Generator[None]:
    """Within the block these optional modules look as if they were not installed.

    Start-up counts: structlog imports rich for a console renderer (80 ms, 6 MB), nats imports aiohttp for its
    WebSocket transport (200 ms, 10 MB). Modules that are imported already stay.
    """
    hidden = [name for name in modules if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # pyright: ignore[reportArgumentType]  # None is what makes `import` refuse
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
