"""How long a pod says that it runs, from its start to its end."""

from collections.abc import Mapping

from neaptide.model.snapshot import ClusterSnapshot

RUN_SECONDS = "neaptide.io/run-seconds"
"""Annotation of a pod: how long it says it runs."""


def needed_seconds(annotations: Mapping[str, str]) -> float | None:
    """What the annotation says; None where it is not there, or says nothing that can be meant."""
    try:
        found = float(annotations.get(RUN_SECONDS, "nan"))
    except ValueError:
        return None
    return found if 0 < found < 1e9 else None


def deadline_seconds(snapshot: ClusterSnapshot, owner: int) -> float | None:
    """After how long pods of a workload (row, -1 for none) are ended in any case: `activeDeadlineSeconds` of a Job."""
    workload = snapshot.workloads.objects[owner] if owner >= 0 else None
    limit = None if workload is None else workload.spec.active_deadline_seconds
    return None if limit is None else float(limit)
