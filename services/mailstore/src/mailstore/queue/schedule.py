"""When a deferred delivery, or a site, is tried again: growing delays with jitter (RFC 5321 s4.5.4.1)."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """The first delay, what it grows by, and its bound; seconds. Each is drawn within `jitter` around it."""

    first_seconds: float = 300.0
    factor: float = 2.0
    most_seconds: float = 4 * 3_600.0
    jitter: float = 0.2

    def delay(self, attempts: int, randomness: random.Random) -> float:
        """Seconds until the next attempt, after so many attempts (1 and more)."""
        exponent = min(attempts - 1, 64)
        seconds = min(self.first_seconds * self.factor**exponent, self.most_seconds)
        return seconds * randomness.uniform(1 - self.jitter, 1 + self.jitter)
