"""Alerts and dashboard: their queries can be read, speak of figures that there are, and fire when they should."""

import inspect
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.charts.helm import NEAPTIDE

from neaptide.kube.metrics import Metrics
from neaptide.testbed import tools
from neaptide.testbed.errors import TestbedError

ALERTS = NEAPTIDE / "files" / "alerts.yaml"
DASHBOARD = NEAPTIDE / "files" / "dashboard.json"
FIGURE = re.compile(r"\bneaptide_[a-z_]+")


@pytest.fixture
def promtool() -> Path:
    try:
        return tools.promtool()
    except TestbedError as error:
        pytest.skip(str(error))


def test_the_alerts_are_rules_of_prometheus(promtool: Path) -> None:
    assert "SUCCESS" in run(promtool, "check", "rules", "--lint=all", "--lint-fatal", ALERTS)


def test_the_alerts_fire_when_they_should_and_not_before(promtool: Path, tmp_path: Path) -> None:
    cases = yaml.safe_load((Path(__file__).parent / "alerts.test.yaml").read_text(encoding="utf-8"))
    cases["rule_files"] = [str(ALERTS)]
    (tmp_path / "cases.yaml").write_text(yaml.safe_dump(cases), encoding="utf-8")
    assert "SUCCESS" in run(promtool, "test", "rules", tmp_path / "cases.yaml")


def test_every_alert_has_a_case_that_fires() -> None:
    cases = yaml.safe_load((Path(__file__).parent / "alerts.test.yaml").read_text(encoding="utf-8"))
    firing = {
        each["alertname"] for case in cases["tests"] for each in case["alert_rule_test"] if each.get("exp_alerts")
    }
    assert firing == {rule["alert"] for rule in rules()}


def test_every_query_can_be_read(promtool: Path, tmp_path: Path) -> None:
    """As recording rules, for promtool reads nothing else without a server."""
    queries = [target["expr"] for panel in panels() for target in panel["targets"]]
    readable = [each.replace("$__rate_interval", "5m").replace("$namespace", ".*") for each in queries]
    group = {"name": "all", "rules": [{"record": f"query:{n}", "expr": each} for n, each in enumerate(readable)]}
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [group]}), encoding="utf-8")
    assert f"{len(queries)} rules found" in run(promtool, "check", "rules", tmp_path / "queries.yaml")


def test_alerts_and_dashboard_speak_of_figures_that_there_are() -> None:
    text = "".join(rule["expr"] for rule in rules()) + DASHBOARD.read_text(encoding="utf-8")
    assert {base(name) for name in FIGURE.findall(text)} <= figures()


def test_the_panels_of_the_dashboard_lie_side_by_side() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in panels()}) == len(panels())


def figures() -> set[str]:
    """What a controller shows, by name, without the endings that Prometheus adds."""
    controller = Path(inspect.getfile(Metrics)).parent
    return {
        base(name) for path in controller.rglob("*.py") for name in FIGURE.findall(path.read_text(encoding="utf-8"))
    }


def base(name: str) -> str:
    return re.sub(r"_(total|bucket|count|sum)$", "", name)


def rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"][0]["rules"]
    return found


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return found


def run(program: Path, *arguments: str | Path) -> str:
    command = [str(program), *map(str, arguments)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - promtool
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout
