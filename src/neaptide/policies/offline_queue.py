"""Which offline job goes next, and when it must go: valleys with hysteresis, ageing, deadlines, and gentle closing."""


def in_valley(load: float, *, was: bool, watermark: float, hysteresis: float) -> bool:
    """Whether a load (used / capacity) leaves room for offline work.

    A valley begins below `watermark` and ends above `watermark + hysteresis`, so that a load at the mark does not switch
    work on and off. An unknown load (nan) is no valley.
    """
    return load <= watermark + hysteresis if was else load < watermark


def aged_priority(priority: float, waited: float, *, seconds_per_point: float) -> float:
    """A job's place in the queue, larger first: its priority and a point for each `seconds_per_point` that it waited.

    So a job passes every later one whose priority is less than waited / seconds_per_point above its own.
    """
    return priority + waited / seconds_per_point


def is_overdue(waited: float, *, deadline: float | None) -> bool:
    """Whether a job has waited so long (seconds) that it starts at reclaimed priority, window or not."""
    return deadline is not None and waited >= deadline


def fits_before(closing: float | None, now: float, *, run_time: float | None, margin: float) -> bool:
    """Whether a job may start before the window closes.

    Args:
        closing: when it closes, seconds since the epoch; None where it does not.
        now: seconds since the epoch.
        run_time: how long the job is expected to run; None where unknown, which needs the margin only.
        margin: nothing starts in the last `margin` seconds.
    """
    return closing is None or now + max(run_time or 0.0, margin) <= closing
