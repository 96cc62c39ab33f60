"""Numbers in words: shares as counts in 1,000 or in percent, and how many there are of a thing."""


def in_1000(share: float) -> str:
    """A share as a count in 1,000; a rare event is not rounded to none, nor to all."""
    return parted(share)[0]


def parted(share: float) -> tuple[str, str]:
    """A share and its rest as counts in 1,000 that add up."""
    if 0 < share <= 0.0005:
        return "fewer than 1", "more than 999"
    if 0.9995 <= share < 1:
        return "more than 999", "fewer than 1"
    count = round(1000 * share)
    return f"{count:,}", f"{1000 - count:,}"


def summed(first: float, second: float) -> tuple[str, str, str]:
    """Two parts of a share, and before them their sum, as counts in 1,000 that add up.

    What rounding is off by goes to the larger part.
    """
    total, counts = round(1000 * (first + second)), [round(1000 * part) for part in (first, second)]
    larger = 0 if first >= second else 1
    counts[larger] = total - counts[1 - larger]
    one, other = (
        "fewer than 1" if not count and share else f"{count:,}"
        for count, share in zip(counts, (first, second), strict=True)
    )
    return in_1000(first + second), one, other


def about(number: float) -> str:
    """An expected number of images, rounded; what is rare is not rounded to none."""
    return "fewer than 1" if 0 < number <= 0.5 else f"{round(number):,}"


def number_of(count: float, one: str, many: str | None = None) -> str:
    """A number and its noun: `1 image`, `1,200 images`, `2 classes`, `1.5 hours`."""
    number = f"{count:,}" if isinstance(count, int) else f"{count:g}"
    return f"{number} {one if count == 1 else many or one + 's'}"


def between(low: float, high: float) -> str:
    """The ends of an interval as counts: `928 to 968`; an end that is not 0 or 1 stays outside."""
    least = "0" if low <= 0.0005 else in_1000(low)
    most = "1,000" if high >= 0.9995 else in_1000(high)
    return f"{least} to {most}"


def percent(share: float, decimals: int | None = None) -> str:
    """`99.95 %`: a share that was measured to so many decimals, one that was asked for as it is."""
    number = f"{100 * share:.6g}" if decimals is None else f"{100 * share:.{decimals}f}"
    return f"{number} %"


def percentile(of_100: float) -> str:
    """A share of 0 to 100 in words; what is not all, or not none, is never rounded to it."""
    if 99 < of_100 < 100:
        return "more than 99 %"
    return "less than 1 %" if 0 < of_100 < 1 else f"{of_100:.0f} %"
