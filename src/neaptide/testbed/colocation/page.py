"""The demo's result as one HTML file: a table, and for each set-up its latencies as a curve (SVG), with no script and nothing to fetch."""

from collections.abc import Mapping, Sequence
from html import escape
from math import isfinite, log10
from typing import NamedTuple

import numpy as np

from neaptide.model.columns import Floats
from neaptide.testbed.colocation.rounds import Round, use_percent
from neaptide.testbed.colocation.scene import SetUp
from neaptide.testbed.colocation.statistics import percentile

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 760, 340, 60, 50, 20
_COLOURS = {
    SetUp.ALONE: "#4c78a8",
    SetUp.AGAIN: "#9ecae9",
    SetUp.UNCONTROLLED: "#e45756",
    SetUp.LIMITED: "#f2a541",
    SetUp.BEST_EFFORT: "#b279a2",
    SetUp.AGENT: "#2a9d6f",
}
_PERCENTS = (0, 50, 90, 99, 99.9)
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222;background:#fff}"
    "table{border-collapse:collapse}td,th{padding:.3em .8em;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left}svg{width:100%;height:auto}"
)


class Row(NamedTuple):
    """What one set-up showed. Latencies in ms; throughput in requests a second; CPU in percent of the node's; offline work a second."""

    set_up: str
    p50: float
    p99: float
    throughput: float
    cpu_percent: float
    offline_percent: float
    offline_of_left_over: float | None
    computed: float
    written_mebibytes: float


def row(set_up: SetUp, rounds: Sequence[Round]) -> Row:
    """A set-up's rounds, summed up."""
    latencies, seconds = [each.latencies for each in rounds], sum(each.seconds for each in rounds)
    offline, left = sum(each.offline for each in rounds), sum(each.left_over for each in rounds)
    return Row(
        str(set_up),
        percentile(latencies, 50),
        percentile(latencies, 99),
        sum(int(np.isfinite(each).sum()) for each in latencies) / seconds,
        use_percent(rounds),
        offline / seconds * 100,
        offline / left if offline and left > 0 else None,
        sum(each.computed for each in rounds) / seconds,
        sum(each.written for each in rounds) / seconds / 2**20,
    )


def page(rounds: Mapping[SetUp, Sequence[Round]], about: str) -> str:
    """The file's text; `about` says how it was measured."""
    heads = (
        "",
        "p50 ms",
        "p99 ms",
        "requests/s",
        "CPU",
        "offline CPU",
        "of what was left over",
        "hashes/s",
        "MiB/s written",
    )
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in _cells(row(set_up, played))) + "</tr>"
        for set_up, played in rounds.items()
    )
    head = "".join(f"<th>{each}</th>" for each in heads)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>A service beside offline jobs</title><style>{_STYLE}</style>'
        f"<h1>A service beside offline jobs on one node</h1><p>{escape(about)}</p>"
        f"<table><tr>{head}</tr>{rows}</table><h2>Latency by percentile</h2>{_chart(rounds)}</html>\n"
    )


def _cells(of: Row) -> list[str]:
    """A row for people."""
    share = "" if of.offline_of_left_over is None else f"{of.offline_of_left_over:.0%}"
    return [
        of.set_up, f"{of.p50:.2f}", f"{of.p99:.2f}", f"{of.throughput:.0f}", f"{of.cpu_percent:.0f} %",
        f"{of.offline_percent:.0f} %", share, f"{of.computed:.0f}", f"{of.written_mebibytes:.1f}",
    ]  # fmt: skip


def _chart(rounds: Mapping[SetUp, Sequence[Round]]) -> str:
    """Latency on a logarithmic scale over how rare it is: each nine has the same room."""
    curves = {set_up: np.sort(np.concatenate([each.latencies for each in played])) for set_up, played in rounds.items()}
    finite = [curve[np.isfinite(curve)] for curve in curves.values()]
    low = max(min(float(curve[0]) for curve in finite), 1e-3)
    high = max(float(curve[min(int(len(curve) * 0.9995), len(curve) - 1)]) for curve in finite) * 1.2

    def y(milliseconds: float) -> float:
        return _HEIGHT - _BOTTOM - log10(max(milliseconds, low) / low) / log10(high / low) * (_HEIGHT - _BOTTOM - _TOP)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Latency of each set-up by percentile">']
    for percent in _PERCENTS:
        parts.append(_line(_x(percent), _TOP, _x(percent), _HEIGHT - _BOTTOM))
        parts.append(_label(_x(percent), _HEIGHT - _BOTTOM + 18, "middle", f"{percent:g} %"))
    for tick in (step * 10.0**power for power in range(-3, 5) for step in (1, 2, 5)):
        if low <= tick <= high:
            parts.append(_line(_LEFT, y(tick), _WIDTH - 10, y(tick)))
            parts.append(_label(_LEFT - 6, y(tick) + 4, "end", f"{tick:g} ms"))
    for number, (set_up, curve) in enumerate(curves.items()):
        points = " ".join(f"{_x(percent):.1f},{y(value):.1f}" for percent, value in _points(curve))
        colour = _COLOURS[set_up]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<rect x="{_LEFT + 12}" y="{_TOP + 18 * number}" width="12" height="12" fill="{colour}"/>')
        parts.append(_label(_LEFT + 30, _TOP + 11 + 18 * number, "start", str(set_up)))
    return "".join(parts) + "</svg>"


def _x(percent: float) -> float:
    rare = min(-log10(max(1 - percent / 100, 1e-4)), 3.3)
    return _LEFT + rare / 3.3 * (_WIDTH - _LEFT - 10)


def _points(curve: Floats) -> list[tuple[float, float]]:
    """Some hundred of them, denser where it is rarer."""
    percents = [100 * (1 - 10 ** (-step / 40)) for step in range(133)]
    found = ((percent, float(curve[min(int(len(curve) * percent / 100), len(curve) - 1)])) for percent in percents)
    return [(percent, value) for percent, value in found if isfinite(value)]


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ddd"/>'


def _label(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="12" fill="#444">{escape(text)}</text>'
