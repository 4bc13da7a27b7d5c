"""The plugins of the scheduling cycle. A new plugin is its file and its line here."""

from neaptide.placement.cycle.devices import DeviceShare

AnyPlugin = DeviceShare

DEFAULT_PLUGINS: tuple[AnyPlugin, ...] = (DeviceShare(),)
