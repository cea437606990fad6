"""date and date-time (RFC 3501 s9), as SEARCH, APPEND and INTERNALDATE spell them."""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Final

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NUMBERS: Final = {month.lower().encode("ascii"): at for at, month in enumerate(_MONTHS, 1)}
_MONTH: Final = rb"([A-Za-z]{3})"

# date-text = date-day "-" date-month "-" date-year
DATE_TEXT: Final = re.compile(rb"([0-9]{1,2})-" + _MONTH + rb"-([0-9]{4})")

# date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE
DATE_TIME: Final = re.compile(
    rb'"([ 0-9][0-9])-'
    + _MONTH
    + rb"-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})\""
)


def date_of(found: re.Match[bytes]) -> date:
    """The date of a match of DATE_TEXT. Raises `ValueError` for 31-Feb-2026 and the like."""
    return date(int(found[3]), _month(found[2]), int(found[1]))


def date_time_of(found: re.Match[bytes]) -> datetime:
    """The instant of a match of DATE_TIME, in UTC. Raises `ValueError`."""
    offset = timedelta(hours=int(found[8]), minutes=int(found[9]))
    zone = timezone(-offset if found[7] == b"-" else offset)
    day, time = int(found[1].strip()), (int(found[4]), int(found[5]), int(found[6]))
    try:
        return datetime(int(found[3]), _month(found[2]), day, *time, tzinfo=zone).astimezone(UTC)
    except OverflowError as error:
        raise ValueError("beyond the years 1 to 9999") from error


def encode_date_time(instant: datetime) -> bytes:
    """date-time of an aware instant, in UTC."""
    utc = instant.astimezone(UTC)
    month = _MONTHS[utc.month - 1]
    return (
        f'"{utc.day:2d}-{month}-{utc.year:04d} {utc.hour:02d}:{utc.minute:02d}:{utc.second:02d} +0000"'
    ).encode("ascii")


def _month(name: bytes) -> int:
    number = _NUMBERS.get(name.lower())
    if number is None:
        raise ValueError("no such month")
    return number
