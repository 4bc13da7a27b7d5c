"""What a pod's burst costs, and what waiting for a real node would."""

from typing import NamedTuple


class Choice(NamedTuple):
    """What is known of a pod that waits. Money in US dollars, times in seconds.

    Attributes:
        waited: since its creation; run: how long it is expected to run.
        virtual_price: per hour of its rounded-up size; None where it is not sold or its price is unknown.
        wait: until a real node is expected to take it; None where none ever will.
        real_price: per hour, of what it takes of a node that would be bought for it; 0 on one that is there anyway.
        overhead: seconds that such a node is paid for without use: until it takes pods, and empty before it is given back.
    """

    waited: float
    run: float
    virtual_price: float | None
    wait: float | None
    real_price: float
    overhead: float = 0.0


class Decision(NamedTuple):
    """Whether to burst, a code for why, and the sentence."""

    burst: bool
    code: str
    message: str


def decide(choice: Choice, *, virtual_start: float, waiting_cost_per_hour: float, deadline: float | None) -> Decision:
    """Burst where it costs less than waiting:

        run * virtual_price  <  (run + overhead) * real_price + (wait - virtual_start) * waiting_cost

    or where no real node will ever take the pod, or it would miss its deadline by waiting and not by bursting.
    """
    if choice.virtual_price is None:
        return Decision(False, "NotSold", "no virtual size holds it, or its price is unknown")
    if choice.wait is None:
        return Decision(True, "NoNodeFits", "no real node takes it, and none that could be bought")
    if deadline is not None:
        late = choice.waited + choice.wait + choice.run > deadline
        early = choice.waited + virtual_start + choice.run <= deadline
        if late and early:
            return Decision(True, "Deadline", f"in {choice.wait:.0f} s on a real node it would end after its deadline")
    extra = (choice.virtual_price * choice.run - choice.real_price * (choice.run + choice.overhead)) / 3600
    saved = (choice.wait - virtual_start) * waiting_cost_per_hour / 3600
    sums = f"bursting costs ${extra:.4f} more, and waiting {choice.wait:.0f} s for a real node ${max(saved, 0):.4f}"
    if extra < saved:
        return Decision(True, "WaitingCostsMore", sums)
    return Decision(False, "WaitingCostsLess", sums)


def pays_home(
    *,
    remaining: float,
    elapsed: float,
    restartable_from_start: bool,
    virtual_price: float,
    restart: float,
    waiting_cost_per_hour: float,
) -> bool:
    """Whether moving a running pod to a real node that is there anyway saves money.

    What it has done is lost where its work begins anew (a Job's pod), and has to be waited for again.

        remaining * virtual_price  >  (restart + lost) * waiting_cost
    """
    lost = elapsed if restartable_from_start else 0.0
    return remaining * virtual_price > (restart + lost) * waiting_cost_per_hour
