#!/usr/bin/env python3
"""What an event costs in the state and merge stages, rows included, against keys, windows and lateness; a table on
standard output and one picture.

    perf/state_plot.py BUILD_DIR [EVENTS] [SVG]     (perf/results/state_cost.svg)

Each point is the best of RUNS runs of bench_windows (CPU time; count and sum of an amount; 200 events a millisecond of
event time, up to 2 s out of order) but for what its panel varies."""
import os
import sys
import tempfile
from xml.sax.saxutils import escape

from common import bench_windows, write_events

HERE = os.path.dirname(os.path.abspath(__file__))
RUNS, PER_MS, BOUND_MS, KEYS = 3, 200, 2000, 10000
SHARE_LATE, LATE_BY_MS = 0.05, 20000
WIDTH, HEIGHT, LEFT, TOP, GAP = 260, 190, 56, 46, 76
INK, SOFT, GRID = "#222222", "#666666", "#dddddd"
LINES = {"ns an event": ("#1f6fb4", "ns"), "rows per 100 events": ("#b4581f", "rows")}


def window(more, n=0):
    return f"{{name: w{n}, by: user_id, aggregates: 'count, sum(amount)', keys_max: 10000000, {more}}}"


def hopping(seconds):
    return window("size: 1s") if seconds == 1 else window(f"kind: hopping, size: {seconds}s, slide: 1s")


# panel: label of the axis, points, of each: what it is named, keys, definitions, share of late events
PANELS = {
    "keys (all events in one tumbling window)":
        [(f"{n:,}", n, window("size: 1m"), 0) for n in (100, 1000, 10000, 100000, 1000000)],
    "windows that an event is in (hopping by 1 s; 1: tumbling)":
        [(str(n), KEYS, hopping(n), 0) for n in (1, 2, 5, 10, 20)],
    "definitions (each as the one of the first panel)":
        [(str(n), KEYS, ", ".join(window("size: 1m", i) for i in range(n)), 0) for n in (1, 2, 4, 8)],
    f"lateness allowed, s (tumbling, 1 s; {SHARE_LATE:.0%} up to {LATE_BY_MS // 1000} s late)":
        [(str(n), KEYS, window(f"size: 1s, lateness: {n}s"), SHARE_LATE) for n in (0, 2, 5, 10, 20)],
}


def measure(build, events, scratch):
    """panel -> [(name of the point, values by LINES)]; the table on the way."""
    found, made, path = {}, None, os.path.join(scratch, "events")
    print(f"{events} events a point\n\n| | | ns an event | rows per 100 events | MB held behind the last event |\n"
          "|---|---|---|---|---|")
    for panel, points in PANELS.items():
        for name, keys, windows, late in points:
            if made != (keys, late):
                write_events(path, events, keys, PER_MS, spread=BOUND_MS, late=late, late_by=LATE_BY_MS)
                made = (keys, late)
            runs = [bench_windows(build, path, windows, BOUND_MS, "count") for _ in range(RUNS)]
            ns = min(int(r["cpu_ns"]) for r in runs) / events
            rows = 100 * int(runs[0]["rows"]) / events
            print(f"| {panel} | {name} | {ns:.0f} | {rows:.1f} | {int(runs[0]['counted']) / 1e6:.1f} |", flush=True)
            found.setdefault(panel, []).append((name, dict(zip(LINES, (ns, rows)))))
    return found


def ceiling(value):
    """The next of 1, 2, 5 times a power of ten."""
    unit = 1.0
    while unit * 10 <= value:
        unit *= 10
    while unit > value:
        unit /= 10
    return next((k * unit for k in (1, 2, 5, 10) if k * unit >= value), 10 * unit)


def text(x, y, words, size=11, color=INK, anchor="middle"):
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{color}" font-size="{size}">{escape(words)}</text>'


def panel_svg(left, top, title, points):
    """One line for each of LINES, both from 0, each on its own scale: the left axis and the right one."""
    out = [text(left + WIDTH / 2, top - 10, title.split(" (")[0], 12)]
    if " (" in title:
        out.append(text(left + WIDTH / 2, top + HEIGHT + 32, "(" + title.split(" (", 1)[1], 10, SOFT))
    step = WIDTH / len(points)
    for i, (name, _) in enumerate(points):
        out.append(text(left + (i + 0.5) * step, top + HEIGHT + 16, name))
    for n, (key, (color, unit)) in enumerate(LINES.items()):
        most = ceiling(max(values[key] for _, values in points) or 1)
        side, anchor = (left - 6, "end") if n == 0 else (left + WIDTH + 6, "start")
        for part in range(0, 5):
            y = top + HEIGHT - HEIGHT * part / 4
            if n == 0:
                out.append(f'<line x1="{left}" x2="{left + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>')
            out.append(text(side, y + 4, f"{most * part / 4:g}", 10, color, anchor))
        out.append(text(side, top - 10, unit, 10, color, anchor))
        place = [(left + (i + 0.5) * step, top + HEIGHT * (1 - values[key] / most))
                 for i, (_, values) in enumerate(points)]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in place)
        dash = ' stroke-dasharray="5 3"' if n else ""
        out.append(f'<polyline points="{joined}" fill="none" stroke="{color}" stroke-width="2"{dash}/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in place]
    return out


def svg(found):
    columns = 2
    rows = (len(found) + columns - 1) // columns
    width = LEFT + columns * (WIDTH + GAP)
    height = TOP + rows * (HEIGHT + GAP) + 10
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
           'font-family="sans-serif">', f'<rect width="{width}" height="{height}" fill="#ffffff"/>']
    for n, (title, points) in enumerate(found.items()):
        out += panel_svg(LEFT + n % columns * (WIDTH + GAP), TOP + n // columns * (HEIGHT + GAP), title, points)
    at = LEFT
    for key, (color, _) in LINES.items():
        out.append(text(at, height - 10, "\u2014 " + key, 12, color, "start"))
        at += 150
    return "\n".join(out + ["</svg>"]) + "\n"


def main():
    build = sys.argv[1]
    events = int(sys.argv[2]) if len(sys.argv) > 2 else 4000000
    path = sys.argv[3] if len(sys.argv) > 3 else os.path.join(HERE, "results", "state_cost.svg")
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(build, events, scratch)
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(svg(found))
    print(f"\n{path}")


main()
