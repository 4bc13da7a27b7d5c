"""The files of a machine that real-time data are read from."""

from pathlib import Path

PRESSURE = "some avg10={:.2f} avg60=9.00 avg300=9.00 total=1\nfull avg10=8.00 avg60=8.00 avg300=8.00 total=1\n"
NETWORK = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 999999999 1 0 0 0 0 0 0 999999999 1 0 0 0 0 0 0
  eth0: {received} 1 0 0 0 0 0 0 {sent} 1 0 0 0 0 0 0
  wlan: {received} 1 0 0 0 0 0 0 {sent} 1 0 0 0 0 0 0
"""


class Machine:
    """Two CPUs, a disk with a partition, a card of a gigabit a second, one that does not know its speed, and the loopback."""

    def __init__(self, directory: Path) -> None:
        self.proc, self.sysfs = directory / "machine-proc", directory / "machine-sys"
        for each in ("1/net", "pressure"):
            (self.proc / each).mkdir(parents=True)
        for each in (
            "block/vda/device",
            "block/loop0",
            "class/net/eth0/device",
            "class/net/wlan/device",
            "class/net/lo",
        ):
            (self.sysfs / each).mkdir(parents=True)
        for card, speed in (("eth0", "1000"), ("wlan", "-1"), ("lo", "1000")):
            (self.sysfs / "class/net" / card / "speed").write_text(f"{speed}\n")
        (self.proc / "stat").write_text("cpu  1 1 1 1\ncpu0 1 1 1 1\ncpu1 1 1 1 1\nctxt 5\n")
        self.show()

    def show(
        self, *, load: float = 0.0, pressure: float = 0.0, received: int = 0, sent: int = 0, disk_ms: int = 0
    ) -> None:
        """Loads (the one of 15 minutes always 1), pressure in percent, bytes and milliseconds since the beginning."""
        (self.proc / "loadavg").write_text(f"{load:.2f} {load:.2f} 1.00 1/2 3\n")
        for resource in ("cpu", "memory", "io"):
            (self.proc / "pressure" / resource).write_text(PRESSURE.format(pressure))
        (self.proc / "1/net/dev").write_text(NETWORK.format(received=received, sent=sent))
        disk = "254 {number} {name} 1 0 8 1 1 0 8 1 0 {busy} 2 0 0 0 0"
        lines = [disk.format(number=number, name=name, busy=disk_ms) for number, name in enumerate(("vda", "vda1"))]
        (self.proc / "diskstats").write_text(
            "\n".join([*lines, disk.format(number=0, name="loop0", busy=99_999)]) + "\n"
        )
