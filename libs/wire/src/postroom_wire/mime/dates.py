"""date-time of a Date field (RFC 5322 s3.3, s4.3)."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), 1
    )
}
_MONTH_NAMES: Final = "JanFebMarAprMayJunJulAugSepOctNovDec"
_DAY_NAMES: Final = "MonTueWedThuFriSatSun"
# obs-zone; military letters are "-0000" (s4.3), and so is what nobody knows.
_ZONES: Final = {
    b"est": -300,
    b"edt": -240,
    b"cst": -360,
    b"cdt": -300,
    b"mst": -420,
    b"mdt": -360,
    b"pst": -480,
    b"pdt": -420,
}
_MAX_DATE: Final = 128
_LAST_SECOND: Final = 59
_CENTURY_TURNS: Final = 50
_COMMENT: Final = re.compile(rb"\([^()]*+\)")
# date-time = [ day-of-week "," ] day month year hour ":" minute [ ":" second ] zone
_DATE_TIME: Final = re.compile(
    rb"\s*+(?:[A-Za-z]{1,12}\s*+,?\s*+)?(\d{1,2})[\s\-]++([A-Za-z]{3})[a-z]{0,6}+[\s\-]++(\d{2,4})\s++"
    rb"(\d{1,2})\s*+:\s*+(\d{1,2})(?:\s*+:\s*+(\d{1,2}))?+\s*+(?:([+-])(\d\d):?(\d\d)|([A-Za-z]{1,5}))?"
)


def parse_date(value: bytes) -> datetime | None:
    """The instant in UTC, or None where the value names none; a missing zone is taken for UTC."""
    if (read := _read(value)) is None:
        return None
    local, offset = read
    try:
        return local - offset
    except OverflowError:
        return None


def written_date(value: bytes) -> date | None:
    """The day as it is written, whatever the zone (RFC 3501 s6.4.4 SENTON), or None where there is none."""
    return None if (read := _read(value)) is None else read[0].date()


def _read(value: bytes) -> tuple[datetime, timedelta] | None:
    """The time as it is written, and how far its zone is ahead of UTC."""
    value = value[:_MAX_DATE]
    if b"(" in value:
        value = _COMMENT.sub(b" ", value)
    if (found := _DATE_TIME.match(value)) is None:
        return None
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes, zone = found.groups()
    number = _MONTHS.get(month.lower())
    if number is None:
        return None
    seconds = 0 if second is None else int(second)
    if seconds == _LAST_SECOND + 1:  # a leap second, which datetime has not
        seconds = _LAST_SECOND
    if sign:
        offset = (int(zone_hours) * 60 + int(zone_minutes)) * (-1 if sign == b"-" else 1)
    else:
        offset = _named_zone(zone)
    try:
        local = datetime(_full_year(year), number, int(day), int(hour), int(minute), seconds, tzinfo=UTC)
        return local, timedelta(minutes=offset)
    except (ValueError, OverflowError):
        return None


def format_date(instant: datetime) -> str:
    """date-time of an aware instant, in its own zone; its names do not depend on a locale."""
    offset = instant.utcoffset()
    minutes = 0 if offset is None else int(offset.total_seconds()) // 60
    sign = "-" if minutes < 0 else "+"
    day_name = _DAY_NAMES[instant.weekday() * 3 :][:3]
    month_name = _MONTH_NAMES[(instant.month - 1) * 3 :][:3]
    return (
        f"{day_name}, {instant.day:02} {month_name} {instant.year:04} {instant:%H:%M:%S} "
        f"{sign}{abs(minutes) // 60:02}{abs(minutes) % 60:02}"
    )


def _full_year(digits: bytes) -> int:
    """s4.3: two digits below 50 are of this century; two above and all with three digits add 1900."""
    year = int(digits)
    match len(digits):
        case 2:
            return year + (2000 if year < _CENTURY_TURNS else 1900)
        case 3:
            return year + 1900
        case _:
            return year


def _named_zone(zone: bytes | None) -> int:
    return 0 if zone is None else _ZONES.get(zone.lower(), 0)
