"""Runs a service that ends at a named step: `POSTROOM_CRASH_AT=<step>[:n] python -m postroom_testing.crash
<module> serve`.

The process ends as by SIGKILL, with status 137, when it reaches the step for the n-th time (the first unless
said). Without the variable the service runs as it is.
"""

import os
import runpy
import sys
from dataclasses import dataclass

from postroom_runtime import steps

VARIABLE = "POSTROOM_CRASH_AT"
STATUS = 137


@dataclass
class CrashPoint:
    """A step and how many times it is still passed."""

    step: str
    times: int = 1

    @classmethod
    def parse(cls, text: str) -> "CrashPoint":
        """From `step` or `step:n`; raises `ValueError`."""
        step, _, times = text.partition(":")
        point = cls(step, int(times or 1))
        if not point.step or point.times < 1:
            raise ValueError(f"not a crash point: {text}")
        return point

    def reached(self, step: str) -> bool:
        """Whether the process ends here."""
        if step != self.step:
            return False
        self.times -= 1
        return self.times == 0


def install(point: CrashPoint) -> None:
    """End this process at the point. Nothing is flushed, no handler runs: that is what is to be tested."""

    def hook(step: str) -> None:
        if point.reached(step):
            os.write(2, f"crashed at {step}\n".encode())
            os._exit(STATUS)

    steps.install(hook)


def main() -> None:
    """Install what the environment says, then be the module that the arguments name."""
    if len(sys.argv) < 2:
        sys.exit("usage: python -m postroom_testing.crash <module> [argument ...]")
    if text := os.environ.get(VARIABLE):
        install(CrashPoint.parse(text))
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
