"""A node's real-time data beside its CPU and memory: their names, in profiles and among the resources of its NodeMetric.

A NodeMetric takes quantities of any resource, Koordinator's as well as ours, so that `load.5m` travels as `neaptide.io/load-5m`.
"""

LOADS = ("1m", "5m", "15m")
PRESSURES = ("cpu", "memory", "io")
NETWORK, DISK = "network", "disk"
NAMES = (*(f"load.{each}" for each in LOADS), *(f"pressure.{each}" for each in PRESSURES), NETWORK, DISK)
RESOURCES = {name: f"neaptide.io/{name.replace('.', '-')}" for name in NAMES}
