from pathlib import Path

import numpy as np
import pytest

from neaptide.simulator.traces.dlrm import NO_LIMIT, load_dlrm

HEADER = (
    "instance_sn,role,app_name,cpu_request,gpu_request,memory_request,max_instance_per_node,"
    "creation_time,scheduled_time,deletion_time"
)


def test_requests_are_in_milli_cpu_and_bytes_and_what_is_not_told_is_nan(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(f"{HEADER}\ni0,HN,app_0,4.35,1,937.5,-1,,,75.0\n")
    found = load_dlrm(tmp_path)
    assert found.cpu_milli.tolist() == [4350]
    assert found.memory_bytes.tolist() == [int(937.5 * 2**30)]
    assert found.max_per_node.tolist() == [NO_LIMIT]
    np.testing.assert_equal([*found.created, *found.scheduled, *found.deleted], [np.nan, np.nan, 75.0])
    np.testing.assert_equal([*found.rdma_percent, *found.disk_bytes], [np.nan, np.nan])


@pytest.mark.parametrize(
    ("times", "field", "accepted"),
    [
        ("10,9,", "scheduled_time", "creation_time (10.0) or later"),
        ("10,20,15", "deletion_time", "scheduled_time (20.0) or later"),
        ("10,,5", "deletion_time", "creation_time (10.0) or later"),
    ],
    ids=["scheduled before created", "deleted before scheduled", "deleted before created, schedule unknown"],
)
def test_a_life_that_ends_before_it_begins_is_reported(times: str, field: str, accepted: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(f"{HEADER}\ni0,HN,app_0,4,1,9,-1,{times}\n")
    found = load_dlrm(tmp_path)
    assert found.names == []
    (left_out,) = found.bad
    assert (left_out.field, left_out.accepted) == (field, accepted)


def test_a_name_that_appears_again_is_reported_in_whichever_file(tmp_path: Path) -> None:
    row = "i0,HN,app_0,4,1,9,-1,,,"
    (tmp_path / "a.csv").write_text(f"{HEADER}\n{row}\n{row}\n")
    (tmp_path / "b.csv").write_text(f"{HEADER}\n{row.replace('i0', 'i1')}\n{row}\n")
    found = load_dlrm(tmp_path)
    assert found.names == ["i0", "i1"]
    assert [(Path(left_out.file).name, left_out.object) for left_out in found.bad] == [
        ("a.csv", "line 3"),
        ("b.csv", "line 3"),
    ]


def test_all_of_the_public_instances_load(traces: Path) -> None:
    found = load_dlrm(traces / "dlrm")
    assert found.bad == []
    assert len(found.names) == 23_871
    assert len(set(found.apps)) == 156
    assert set(found.roles) == {"CN", "HN"}
    assert int(np.isnan(found.created).sum()) == 7_280
