"""The agent's suite on a real kernel with version 2 of control groups, hyper-threads and NUMA nodes: on_kernel.py, in a virtual machine."""

import re
import sys
from pathlib import Path

import pytest

from neaptide.testbed import vm
from neaptide.testbed.initramfs import SCRATCH

SUITE = Path(__file__).with_name("on_kernel.py")
WITHIN = 1500.0
"""Seconds for what takes some thirty on an idle machine."""


def test_every_test_of_the_suite_passes_on_a_kernel_of_version_2(tmp_path: Path) -> None:
    if missing := vm.lacking():
        pytest.skip(f"virtual machines cannot run here: {'; '.join(missing)}")
    flags = ["--noconftest", f"--basetemp={SCRATCH}/pytest", "-rA", "--color=no"]
    outcome = vm.run(
        [sys.executable, "-B", "-m", "pytest", *flags, str(SUITE)],
        tmp_path,
        shape=vm.Shape(sockets=2, cores=2, threads=2, numa=2, disks=(64,), disk_speed=64),
        environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": "src", "HOME": SCRATCH},
        within=WITHIN,
    )
    assert outcome.code == 0, outcome.output
    written = len(re.findall(r"^def test_", SUITE.read_text(), re.MULTILINE))
    assert len(re.findall(r"^PASSED ", outcome.output, re.MULTILINE)) >= written, outcome.output
