"""The scene of a service beside offline jobs: its figures and its page from known rounds, its generator against a service that answers late."""

import json
import socket
import subprocess
import sys
import threading
from math import inf
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from tests.kube.live import eventually

from neaptide.testbed.colocation import programs
from neaptide.testbed.colocation.load import latencies
from neaptide.testbed.colocation.page import page, row
from neaptide.testbed.colocation.rounds import Round, _windows
from neaptide.testbed.colocation.scene import SetUp
from neaptide.testbed.colocation.statistics import bootstrap, percentile

LATENCIES = np.array([1.0] * 98 + [5.0, inf])


def test_a_request_that_nobody_answered_is_the_slowest() -> None:
    assert percentile([LATENCIES], 50) == 1.0
    assert percentile([LATENCIES], 98) == 5.0
    assert percentile([LATENCIES], 99) == inf


def test_an_interval_of_rounds_that_are_alike_is_their_figure() -> None:
    assert bootstrap(lambda chosen: float(len(chosen)), 7) == (7.0, 7.0, 7.0)
    low, value, high = sorted(bootstrap(lambda chosen: float(np.mean(chosen)), 9))
    assert low < value == 4.0 < high


def test_what_is_left_over_is_what_only_offline_pods_wanted() -> None:
    played = Round(LATENCIES, seconds=10.0, node=7.0, service=4.0, offline=2.0, computed=50, written=10 << 20)
    assert played.left_over == 5.0
    found = row(SetUp.AGENT, [played])
    assert found.offline_of_left_over == pytest.approx(0.4)
    assert (found.cpu_percent, found.offline_percent, found.throughput) == pytest.approx((70.0, 20.0, 9.9))
    assert (found.computed, found.written_mebibytes) == (5.0, 1.0)


def test_the_page_is_whole_and_names_every_set_up() -> None:
    played = Round(LATENCIES, 10.0, 7.0, 4.0, 0.0, 0, 0)
    text = page({set_up: [played, played] for set_up in SetUp}, "two rounds & no more")
    chart = ET.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])  # noqa: S314 - our own
    assert len(chart.findall("polyline")) == len(SetUp)
    assert all(set_up in text for set_up in SetUp)
    assert "two rounds &amp; no more" in text


def test_windows_say_what_was_used_in_each() -> None:
    samples = [(number / 100, min(number, 150) / 100) for number in range(300)]
    rates = dict(_windows(samples))
    assert rates[0.5] == pytest.approx(1.0)
    assert rates[1.0] == pytest.approx(0.5, abs=0.02)
    assert rates[max(rates)] == pytest.approx(0.0)
    assert max(rates) == pytest.approx(1.99, abs=0.02)


def test_a_service_that_stands_still_is_charged_for_what_was_due_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setattr("neaptide.testbed.colocation.load.PORT", listening.getsockname()[1])

    def answer() -> None:
        connections = [listening.accept()[0] for _ in range(8)]
        for connection in connections:
            asked = b""
            while asked.count(b"\r\n\r\n") < 5:
                asked += connection.recv(65536)
        for connection in connections:
            connection.sendall(programs.REPLY * 5)
            connection.close()

    thread = threading.Thread(target=answer)
    thread.start()
    found = latencies("127.0.0.1", 100.0, 0.4)
    thread.join()
    listening.close()
    for number, microseconds in enumerate(found):
        assert microseconds is not None
        assert microseconds >= (len(found) - 1 - number) * 10_000, "nobody was answered before the last was due"


@pytest.mark.parametrize("program", ["computes", "writes"])
def test_a_job_counts_what_it_has_done(tmp_path: Path, program: str) -> None:
    text = programs.PROGRAMS[program].replace("/space/data", str(tmp_path / "data"))
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", text, str(tmp_path / "count")]) as job:  # noqa: S603
        try:
            eventually(lambda: _count(tmp_path / "count") > 2, "it has done some steps")
        finally:
            job.kill()


def test_a_pods_manifest_mounts_what_its_program_wants(tmp_path: Path) -> None:
    made = programs.pod("job", "computes", directory=str(tmp_path), node="real-1", resources={}, labels={"a": "b"})
    volumes = {each["name"]: each for each in made["spec"]["volumes"]}
    mounts = {each["mountPath"]: volumes[each["name"]] for each in made["spec"]["containers"][0]["volumeMounts"]}
    assert mounts["/programs"]["hostPath"]["path"] == str(tmp_path)
    assert mounts["/out"]["hostPath"]["path"] == f"{tmp_path}/out"
    assert made["metadata"]["labels"]["a"] == "b"
    assert json.dumps(made)


def _count(file: Path) -> int:
    return int.from_bytes(file.read_bytes()[:8], "little") if file.exists() else 0
