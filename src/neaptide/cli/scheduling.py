"""The flags of `neaptide run` that are about scheduling."""

from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from neaptide.cli.exits import UsageError, unacceptable
from neaptide.kube.scheduler.opening import Scheduling
from neaptide.model.problems import FieldError
from neaptide.placement.cycle.profile import CycleProfile, read_cycle_profile


@dataclass(frozen=True)
class SchedulerFlags:
    """Which pods are scheduled, and how."""

    scheduler_name: str = ""
    """of the pods to schedule, as their spec.schedulerName; by default the profile's, which is neaptide."""
    scheduler_profile: Path | None = None
    """a YAML file with the filters, scores and plugins that decide; by default kube-scheduler's and ours."""
    scheduler_qps: float = 200.0
    """bindings a second."""

    def scheduling(self) -> Scheduling:
        """What they say. Raises UsageError."""
        if self.scheduler_qps <= 0:
            raise unacceptable("--scheduler-qps", self.scheduler_qps, "bindings a second, above 0")
        profile = CycleProfile() if self.scheduler_profile is None else _read(self.scheduler_profile)
        if self.scheduler_name:
            profile = replace(profile, scheduler_name=self.scheduler_name)
        return Scheduling(profile=profile, qps=self.scheduler_qps)


DEFAULT_SCHEDULER = SchedulerFlags()


def _read(file: Path) -> CycleProfile:
    try:
        return read_cycle_profile(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--scheduler-profile: {error}") from error
    except FieldError as error:
        raise UsageError(f"--scheduler-profile {file}: {error}") from error
