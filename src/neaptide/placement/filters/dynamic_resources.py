"""Resource claims are beyond this scheduler."""

from neaptide.placement.filters.filter import Filter
from neaptide.placement.view import Pod, View

REASON = "pod has resource claims, which need kube-scheduler's plugin DynamicResources"


class DynamicResources(Filter, frozen=True, tag="DynamicResources"):
    """A pod with resource claims is refused rather than placed without its devices."""

    def refusal(self, view: View, pod: Pod) -> str | None:
        del view
        return REASON if pod.cls.requirements.resource_claims else None
