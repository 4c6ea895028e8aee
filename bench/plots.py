"""The pictures of docs/benchmarks.md: bars of all servers, and curves over subscribers and sizes.

Each is written as PNG and as SVG. They bring their own light background, so that they can be read on a dark
page too; an SVG has a title and a description, and refers to nothing outside itself.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from math import floor, log10
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final
from xml.sax.saxutils import escape

from bench import cases
from bench.rivals.ringgate_own import CHANNELS
from bench.tables import FLOOR, SAME_BYTES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PAPER: Final = "#fbfbf9"
_INK: Final = "#24292f"
_GRID: Final = "#d8dbe0"
_OURS: Final = "#0b6e99"
_THEIRS: Final = "#b9bec6"
_FLOOR: Final = "#d08a1d"
_SHADES: Final = {1: "#0b6e99", 16: "#7a4fb5", 128: "#2f8f4e"}
_STYLE: Final[Any] = {
    "figure.facecolor": _PAPER,
    "axes.facecolor": _PAPER,
    "savefig.facecolor": _PAPER,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "ringgate",
}

Records = Sequence[dict[str, Any]]


def draw(records: Records, folder: Path) -> dict[str, str]:
    """Write all pictures for which there are figures; their names with what they show."""
    import matplotlib as mpl

    drawn = {}
    with mpl.rc_context(_STYLE):
        for name, (title, make) in _PICTURES.items():
            figure = make(records)
            if figure is not None:
                _save(figure, folder / f"bench-{name}", title)
                drawn[f"bench-{name}"] = title
    return drawn


def costs(records: Records, case: cases.Case) -> dict[str, float]:
    """Return the median CPU time of each server in a case, in µs for each unit; bytes where it is idle."""
    found: dict[str, list[float]] = {}
    for record in records:
        result = record["result"]
        if record["case"] != case.title or result.get("faults"):
            continue
        idle = case.scenario == "idle"
        value = result["server_memory_bytes"]["each"] if idle else result.get("server_cpu_us_per_unit")
        if value:
            found.setdefault(record["server"], []).append(value)
    return {server: median(values) for server, values in found.items()}


def clean_svg(text: str, title: str) -> str:
    """Give an SVG of matplotlib a title, and take out all that names another place."""
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>", "", text, flags=re.DOTALL)
    text = text.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "").replace("xlink:href", "href")
    spoken = f"<title>{escape(title)}</title>\n <desc>{escape(title)}; the figures are in the tables.</desc>"
    text = re.sub(r"(<svg[^>]*>)", lambda start: f"{start[1]}\n {spoken}", text, count=1)
    return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"


def _save(figure: Figure, path: Path, title: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path.with_suffix(".png"), dpi=120, metadata={"Software": None})
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    path.with_suffix(".svg").write_text(clean_svg(out.getvalue(), title))


def _figure(columns: int, height: float) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    return figure, list(axes)


def _bars(records: Records, panels: Sequence[tuple[cases.Case, str, str]]) -> Figure | None:
    measured = [(costs(records, case), title, unit) for case, title, unit in panels]
    if not any(values for values, _, _ in measured):
        return None
    figure, axes = _figure(len(panels), 0.8 + 0.33 * max(len(values) for values, _, _ in measured))
    for axis, (values, title, unit) in zip(axes, measured, strict=True):
        order = sorted(values, key=lambda name: -values[name])
        colours = [_colour(name) for name in order]
        bars = axis.barh(order, [values[name] for name in order], color=colours, height=0.7)
        axis.bar_label(bars, [_short(values[name]) for name in order], padding=3, fontsize=9)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel(unit)
        axis.set_xscale("log")
        if values:
            axis.set_xlim(10 ** floor(log10(min(values.values())) - 0.3), 3 * max(values.values()))
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        axis.minorticks_off()
        axis.grid(axis="x")
    return figure


def _colour(server: str) -> str:
    if server in {FLOOR, SAME_BYTES}:
        return _FLOOR
    return _OURS if server == "Ringgate" else _THEIRS


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _echo(records: Records) -> Figure | None:
    unit = "server CPU, µs an echo (log)"
    return _bars(records, [(cases.ECHO, "1 in flight", unit), (cases.ECHO_16, "16 in flight", unit)])


def _fanout(records: Records) -> Figure | None:
    unit = "server CPU, µs a delivery (log)"
    return _bars(records, [(cases.FANOUT, "1 in flight", unit), (cases.FANOUT_16, "16 in flight", unit)])


def _connections(records: Records) -> Figure | None:
    return _bars(
        records,
        [
            (cases.CONNECT, "20,000 handshakes", "server CPU, µs a connection (log)"),
            (cases.IDLE, "5,000 idle connections", "user-space memory, bytes a connection (log)"),
        ],
    )


def _subscribers(records: Records) -> Figure | None:
    figure, (axis,) = _figure(1, 4.2)
    drawn = False
    for k in cases.IN_FLIGHT:
        for server, line in (("Ringgate", "-"), (SAME_BYTES, "--")):
            points = [
                (n, costs(records, cases.Case("fanout", n, in_flight=k)).get(server))
                for n in cases.SUBSCRIBERS
            ]
            drawn |= _line(axis, points, f"{server}, {k} in flight", _SHADES[k], line)
    axis.set_xlabel("subscribers (log)")
    axis.set_ylabel("server CPU, µs a delivery (log)")
    _finish(axis, cases.SUBSCRIBERS)
    axis.legend(fontsize=9, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure if drawn else None


def _sizes(records: Records) -> Figure | None:
    figure, axes = _figure(2, 3.8)
    drawn = False
    for axis, scenario in zip(axes, ("echo", "fanout"), strict=True):
        for server, colour in (("Ringgate", _OURS), (FLOOR, _FLOOR)):
            points = [
                (size, costs(records, cases.Case(scenario, 100, size=size)).get(server))
                for size in cases.SIZES
            ]
            drawn |= _line(axis, points, server, colour, "-")
        what = "echo" if scenario == "echo" else "delivery"
        axis.set_title(
            "echo, 100 connections" if scenario == "echo" else "fan-out, 100 subscribers", fontsize=10
        )
        axis.set_xlabel("payload, bytes (log), 1 in flight")
        axis.set_ylabel(f"server CPU, µs {'an' if what == 'echo' else 'a'} {what}")
        _finish(axis, cases.SIZES)
    return figure if drawn else None


def _channels(records: Records) -> Figure | None:
    figure, (axis,) = _figure(1, 3.8)
    drawn = False
    for k in cases.CHANNELS_IN_FLIGHT:
        points = [
            (n, costs(records, cases.Case("channels", n, in_flight=k)).get(CHANNELS)) for n in cases.CHANNELS
        ]
        drawn |= _line(axis, points, f"{k} in flight", _SHADES[k], "-")
    axis.set_xlabel("channels of ten subscribers (log)")
    axis.set_ylabel("server CPU, µs a delivery (log)")
    _finish(axis, cases.CHANNELS)
    return figure if drawn else None


def _line(
    axis: Axes, points: Sequence[tuple[int, float | None]], label: str, colour: str, style: str
) -> bool:
    known = [(x, y) for x, y in points if y is not None]
    if known:
        x, y = zip(*known, strict=True)
        axis.plot(x, y, style, color=colour, label=label, marker="o", markersize=4)
    return bool(known)


def _finish(axis: Axes, ticks: Sequence[int]) -> None:
    from matplotlib.ticker import LogLocator

    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.minorticks_off()
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.grid()
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=8, frameon=False)


_PICTURES: Final = {
    "fanout": ("Server CPU for each delivery of a fan-out to 1,000 subscribers, by server", _fanout),
    "echo": ("Server CPU for each echo over 100 connections, by server", _echo),
    "connections": ("Server CPU for a handshake, and memory of an idle connection, by server", _connections),
    "subscribers": ("Cost of a delivery against the number of subscribers", _subscribers),
    "channels": ("Cost of a delivery against the number of channels of ten subscribers", _channels),
    "sizes": ("Cost of an echo and of a delivery against the size of the message", _sizes),
}
