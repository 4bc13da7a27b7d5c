"""The plugins of the scheduling cycle. A new plugin is its file and its line here."""

from neaptide.placement.cycle.devices import DeviceShare
from neaptide.placement.cycle.quotas import ElasticQuota

AnyPlugin = ElasticQuota | DeviceShare

DEFAULT_PLUGINS: tuple[AnyPlugin, ...] = (ElasticQuota(), DeviceShare())
