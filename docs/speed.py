"""The README's figures of speed: those that the commands of `bench/` left in docs/benchmarks."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPORTS = Path(__file__).resolve().parent / "benchmarks"
BEGIN, END = "<!-- speed: made by `python docs/pages.py` from docs/benchmarks -->", "<!-- end of speed -->"


def speed(folder: Path = REPORTS) -> str:
    """What was measured, as Markdown."""
    found = {file.stem: json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))}
    return "\n".join(_lines(found))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    if report := found.get("throughput"):
        yield f"| the same scans, networks and findings | | {report['ratio']} |"
        yield "|---|---:|---:|"
        for row in report["rows"]:
            yield f"| {row['name']} | {row['median']:.3g} {row['unit']} | {row['ratio']:.2f} |"
        yield from (f"| {name} | {reason} | |" for name, reason in report["absent"].items())
        yield from ("", _told(report), "")
    told = [*_shares(found)]
    yield from (f"- {line}" for line in told)
    yield from ([""] if told else [])
    yield "[docs/benchmarks.md](docs/benchmarks.md) has the rest, with machine, sizes and versions."


def _told(report: dict[str, Any]) -> str:
    machine = report["machine"]
    busy = machine["load"] > 0.25 * machine["cores"]
    aside = " Others were at work on the machine, so only the ratios say something." if busy else ""
    made = f"{machine['processor']}, {machine['cores']} cores, {' '.join(machine['features'])}"
    return f"`bench throughput` on {report['measured']}, {report['sizes']['precision']}: {made}.{aside}"


def _shares(found: dict[str, Any]) -> Iterator[str]:
    """Single ratios that matter, each with its command."""
    for report in (found[name] for name in ("limit", "limit-float32") if name in found):
        share, precision = report["rows"][0]["ratio"], report["sizes"]["precision"]
        yield f"{share:.2f} of what the bare kernels reach on all cores in {precision} (`bench limit`)"
    if report := found.get("queue"):
        yield f"{report['rows'][0]['median']:.0f} scans/s where the network does nothing (`bench queue`)"
    if report := found.get("queue-by-reference"):
        rows = {row["name"]: row["median"] for row in report["rows"]}
        first = rows["accepted"] + rows["first result after that"]
        yield (
            f"{report['sizes']['by-reference']:,} scans by reference: planned and queued in "
            f"{rows['planned and queued']:.0f} s, the first result after {first:.1f} s, no process but the "
            f"networks above {rows['largest process']:.0f} MiB (`bench queue --by-reference`)"
        )
    if report := found.get("scale"):
        row = report["rows"][-1]
        yield f"{row['ratio']:.2f} of linear with {row['name']} whose network waits (`bench scale`)"
    if report := found.get("again"):
        sent, alone = report["rows"][1:3]
        yield f"{sent['ratio']:.1f} × as fast where an archive is sent again (`bench again`)"
        yield f"{alone['median']:.2f} s from the upload of one picture to its result (`bench again`)"
    if report := found.get("memory"):
        row = report["rows"][-1]
        first = report["rows"][0]["name"]
        yield f"a worker's memory {row['name']} is {row['ratio']:.2f} × that {first} (`bench memory`)"
    if report := found.get("series"):
        row = report["rows"][0]
        yield (
            f"{row['median'] / 1000:.1f} s from the request to the mask for a series of {report['sizes']['slices']} "
            f"slices, {row['ratio']:.2f} of the limit (`bench series`)"
        )


def filled(page: str) -> str:
    """A page with its figures of speed made anew, between the two marks; a page without them as it is."""
    if BEGIN not in page:
        return page
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{speed()}\n{END}{rest.partition(END)[2]}"
