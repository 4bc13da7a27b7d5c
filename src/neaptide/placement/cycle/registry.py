"""The plugins of the scheduling cycle. A new plugin is its file and its line here."""

from neaptide.placement.cycle.devices import DeviceShare
from neaptide.placement.cycle.numa import NodeNUMAResource
from neaptide.placement.cycle.quotas import ElasticQuota
from neaptide.placement.cycle.reservations import ReservationSpec

AnyPlugin = ReservationSpec | ElasticQuota | DeviceShare | NodeNUMAResource

DEFAULT_PLUGINS: tuple[AnyPlugin, ...] = (ReservationSpec(), ElasticQuota(), DeviceShare(), NodeNUMAResource())
