"""What a node shows at once beside its use of CPU and memory: load, pressure, network and disk, as the kernel tells them of the whole machine.

What cannot be told is not named: a kernel without pressure, a network card that does not know its speed, the parts that are rates at the first look.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from neaptide.agent.files import Files
from neaptide.model.real_time import DISK, LOADS, NETWORK, PRESSURES

_RECEIVED, _SENT = 0, 8
"""Of the numbers of a line of /proc/net/dev: bytes."""
_DISK_NAME, _BUSY = 2, 12
"""Of the words of a line of /proc/diskstats: the name, and the milliseconds in which something was under way."""
_BITS = 1e6 / 8
"""Bytes a second of a megabit a second, which is what speeds are counted in."""


class RealTime:
    """Looks at the machine.

    Args:
        proc, sysfs: the mounts of these.
    """

    def __init__(self, proc: str = "/proc", sysfs: str = "/sys") -> None:
        self._files, self._proc, self._sysfs = Files(), proc, sysfs
        self._before: tuple[float, Mapping[str, float]] = 0.0, {}

    def look(self, now: float) -> dict[str, float]:
        """By the names of `neaptide.model.real_time`; rates are those since the last look. `now` is in monotonic seconds."""
        (at, before), counters = self._before, dict(self._counters())
        self._before = now, counters
        found = dict(self._loads()) | dict(self._pressures())
        for kind in (NETWORK, DISK):
            parts = [
                (counters[name] - before[name]) / (now - at)
                for name in counters.keys() & before.keys()
                if name.startswith(kind) and now > at and counters[name] >= before[name]
            ]
            if parts:
                found[kind] = min(max(parts), 1.0)
        return found

    def close(self) -> None:
        self._files.close()

    def _loads(self) -> Iterator[tuple[str, float]]:
        """The run queue per CPU."""
        cpus = sum(line[:3] == "cpu" and line[3:4].isdigit() for line in self._lines("stat"))
        words = (self._files.read(f"{self._proc}/loadavg") or "").split()
        for window, word in zip(LOADS, words, strict=False):
            if cpus and _is_number(word):
                yield f"load.{window}", float(word) / cpus

    def _pressures(self) -> Iterator[tuple[str, float]]:
        """The part of the last ten seconds in which some task waited."""
        for resource in PRESSURES:
            some = next((line for line in self._lines(f"pressure/{resource}") if line.startswith("some ")), "")
            average = some.partition("avg10=")[2].partition(" ")[0]
            if _is_number(average):
                yield f"pressure.{resource}", float(average) / 100

    def _counters(self) -> Iterator[tuple[str, float]]:
        """Seconds for which each card, one direction at a time, and each disk were used to the full so far."""
        for line in self._lines("1/net/dev"):  # the machine's own network, though the agent may have one of its own
            name, _, rest = line.partition(":")
            numbers, speed = rest.split(), self._speed(name.strip())
            if speed and len(numbers) > _SENT:
                for direction in (_RECEIVED, _SENT):
                    yield f"{NETWORK} {name.strip()} {direction}", int(numbers[direction]) / (speed * _BITS)
        for line in self._lines("diskstats"):
            words = line.split()
            if len(words) > _BUSY and Path(self._sysfs, "block", words[_DISK_NAME], "device").exists():
                yield f"{DISK} {words[_DISK_NAME]}", int(words[_BUSY]) / 1000

    def _speed(self, card: str) -> int:
        """Megabits a second; 0 where there is no machine behind the card, or it does not say."""
        if not Path(self._sysfs, "class/net", card, "device").exists():
            return 0
        text = (self._files.read(f"{self._sysfs}/class/net/{card}/speed") or "").strip()
        return int(text) if text.isdecimal() else 0

    def _lines(self, file: str) -> list[str]:
        return (self._files.read(f"{self._proc}/{file}") or "").splitlines()


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()
