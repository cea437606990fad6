"""Named steps of a service's work, at which a test may end the process; otherwise nothing happens."""

from collections.abc import Callable

Hook = Callable[[str], None]


def _nothing(_step: str) -> None:
    """What happens at a step unless a test installs something."""


_hook: Hook = _nothing


def reached(step: str) -> None:
    """Say that this step was reached, such as `accept.committed`."""
    _hook(step)


def install(hook: Hook | None) -> None:
    """Call `hook` at every step from now on; `None` takes it away."""
    global _hook  # noqa: PLW0603  # one hook a process, called on the hot path
    _hook = hook or _nothing
