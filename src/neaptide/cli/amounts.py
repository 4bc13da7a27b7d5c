"""Amounts of resources as people read them: `1500m`, `1.5Gi`. Programs get the integers."""

_UNITS = (("Ti", 2**40), ("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10))
_IN_BYTES = ("memory", "storage", "hugepages")


def readable(resource: str, amount: float | None) -> str:
    """Milli-CPU as cores, bytes in the largest binary unit, counts as they are; unknown is a dash."""
    if amount is None:
        return "-"
    if resource == "cpu":
        return f"{amount / 1000:g}" if abs(amount) >= 1000 else f"{amount:g}m"
    if any(part in resource for part in _IN_BYTES):
        return next((f"{amount / size:.4g}{unit}" for unit, size in _UNITS if abs(amount) >= size), f"{amount:g}")
    return f"{amount:g}"
