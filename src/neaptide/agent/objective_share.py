"""How much of the node's CPU best-effort pods may use by what services' latencies say; the service that is worst off counts."""

from collections.abc import Mapping
from math import inf

from neaptide.agent.latencies import Latency
from neaptide.noderules.slo_share import Share, SloSettings, next_share, share_in_use


class ObjectiveShare:
    """Follows the latencies, one step for each time that they were measured.

    Attributes:
        part: of the node's CPU; None while no latency is known.
    """

    def __init__(self, settings: SloSettings) -> None:
        self._settings = settings
        self._share: Share | None = None
        self._measured = -inf
        self.part: float | None = None

    def follow(self, latencies: Mapping[str, Latency], *, formula: float, used: float, now: float) -> None:
        """Go on to `now`.

        Args:
            latencies: those that are known.
            formula: the part that best-effort pods have where none is, which is where the share begins.
            used: the part that they use.
            now: monotonic seconds.
        """
        worst = max(latencies.values(), key=lambda each: each.ratio, default=None)
        if worst is None:
            self.part = None
            return
        if self._share is None:
            self._share = Share(formula, now)
        if (measured := max(each.at for each in latencies.values())) > self._measured:
            self._measured = measured
            share = share_in_use(self._share, used) if worst.ratio > 1 else self._share
            if share is not None:
                self._share = next_share(self._settings, share, worst.told.seconds, worst.told.objective, now)
        self.part = self._share.part
