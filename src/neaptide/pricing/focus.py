"""Charges as rows of FOCUS, the open format of cost and usage data that cloud bills and their readers share (focus.finops.org).

The columns are those that version 1.0 requires; later versions keep them. What FOCUS has no column for begins with `x_`. A charge whose price
is unknown cannot be said in FOCUS, which wants a cost in every row: the caller leaves it out and says so.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from neaptide.pricing.bills import Charge

Value = str | float | None

_NULLS = (
    "AvailabilityZone",
    "ChargeClass",
    "CommitmentDiscountCategory",
    "CommitmentDiscountId",
    "CommitmentDiscountName",
    "CommitmentDiscountStatus",
    "CommitmentDiscountType",
    "RegionId",
    "RegionName",
)
DECIMALS = (
    "BilledCost",
    "ConsumedQuantity",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "ListCost",
    "ListUnitPrice",
    "PricingQuantity",
    "x_BilledSeconds",
)
"""Columns that hold numbers."""
TIMES = ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd")


class Account(NamedTuple):
    """Who is billed: what the ledger cannot know."""

    account: str = "neaptide"
    issuer: str = "neaptide"


_NOBODY = Account()


def rows(charges: Iterable[Charge], account: Account = _NOBODY) -> Iterator[dict[str, Value]]:
    """A row for every charge that has a price; columns in order of their names, times as ISO 8601 in UTC."""
    for charge in charges:
        if charge.dollars is not None:
            row = {**_money(charge), **_who(charge, account), **_when(charge), **_what(charge), **dict.fromkeys(_NULLS)}
            yield dict(sorted(row.items(), key=lambda item: (item[0].startswith("x_"), item[0])))


def _money(charge: Charge) -> dict[str, Value]:
    dollars = charge.dollars
    hours, price = charge.seconds / 3600, charge.opened.price_per_hour
    return {
        **dict.fromkeys(("BilledCost", "ContractedCost", "EffectiveCost", "ListCost"), dollars),
        **dict.fromkeys(("ContractedUnitPrice", "ListUnitPrice"), price),
        **dict.fromkeys(("ConsumedQuantity", "PricingQuantity"), hours),
        **dict.fromkeys(("ConsumedUnit", "PricingUnit"), "Hours"),
        "BillingCurrency": "USD",
        "PricingCategory": "Dynamic" if charge.opened.spot else "Standard",
    }


def _who(charge: Charge, account: Account) -> dict[str, Value]:
    opened = charge.opened
    return {
        "BillingAccountId": account.account,
        "BillingAccountName": account.account,
        "InvoiceIssuerName": account.issuer,
        "ProviderName": opened.provider,
        "PublisherName": opened.provider,
        "SubAccountId": opened.namespace,
        "SubAccountName": opened.namespace,
    }


def _when(charge: Charge) -> dict[str, Value]:
    start = datetime.fromtimestamp(charge.start, UTC)
    month = start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    after = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
    return {
        "BillingPeriodStart": _time(month),
        "BillingPeriodEnd": _time(after),
        "ChargePeriodStart": _time(start),
        "ChargePeriodEnd": _time(datetime.fromtimestamp(charge.end, UTC)),
    }


def _what(charge: Charge) -> dict[str, Value]:
    opened = charge.opened
    size = f"{opened.cpu_milli / 1000:g} vCPU, {opened.memory_mib / 1024:g} GiB"
    tags = {"namespace": opened.namespace, "workload": opened.workload, "node": opened.node}
    return {
        "ChargeCategory": "Usage",
        "ChargeDescription": f"{opened.workload} in {opened.namespace}: {size} for {charge.seconds} seconds",
        "ChargeFrequency": "Usage-Based",
        "ResourceId": opened.uid,
        "ResourceName": f"{opened.namespace}/{opened.pod}",
        "ResourceType": "Pod",
        "ServiceCategory": "Compute",
        "ServiceName": "Virtual node",
        "SkuId": f"{opened.tariff or 'none'}/{opened.cpu_milli}m-{opened.memory_mib}Mi",
        "SkuPriceId": f"{opened.tariff or 'none'}/{opened.cpu_milli}m-{opened.memory_mib}Mi/{'spot' if opened.spot else 'on-demand'}",
        "Tags": json.dumps(tags, sort_keys=True),
        "x_BilledSeconds": float(charge.seconds),
        "x_Running": str(charge.running).lower(),
        "x_Workload": opened.workload,
    }


def _time(moment: datetime) -> str:
    return moment.replace(microsecond=0).isoformat().replace("+00:00", "Z")
