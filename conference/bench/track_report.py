"""The numbers of `facewire bench track` as tables, rows and a page.

The rule: every table is made once and shown in both places; a dash stands for what is not known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conference.bench.agreement import GROUPS, middle, over_clips, per_coefficient
from conference.bench.results import Row, print_table
from quic_transport.errors import LocalError
from quic_transport.params import ARKIT46

if TYPE_CHECKING:
    from conference.bench.track import Result

Table = tuple[str, Sequence[str], list[list[str]]]
UNITS = {"rotation": "deg", "pitch": "deg", "yaw": "deg", "roll": "deg", "all_rotation": "deg",
         "landmarks": "%", "delay": "frames"}  # fmt: skip
ALONE = ("presence", "stray", "acquired", "delay_p50", "delay_max", "tracking_ms_p50",
         "tracking_ms_p95", "tracking_cpu_ms_p50", "acquiring_ms_p50",
         "searching_ms_p50")  # fmt: skip


def together(results: Sequence[Result]) -> dict[str, float]:
    """The numbers over all clips with a face."""
    clips = [r for r in results if r.with_face]
    facts = over_clips({r.name: r.agreement for r in clips if r.agreement is not None})
    for key in ALONE:
        facts[key] = middle([r.facts[key] for r in clips]) if clips else math.nan
    found = [r.facts["presence"] for r in clips]
    facts["presence_worst"] = min(found) if found else math.nan
    facts["losses"] = sum(r.facts["losses"] for r in clips)
    return facts


def tables(extractor: str, results: Sequence[Result]) -> list[Table]:
    """Correlations, poses, presence and time; coefficients; clips without a face."""
    clips = [r for r in results if r.with_face]
    every = [(r.name, r.facts) for r in clips]
    if clips:
        every.append(("all clips", together(results)))
    out: list[Table] = []
    if every:
        keys = ["r", *(f"r_{g}" for g in GROUPS)]
        out.append((f"{extractor}: r within a clip, and MAE",
                    ["clip", "frames", "r", *GROUPS, "MAE", "with offset"],
                    [[n, _whole(f.get("frames")), *(_in(f, k, 2) for k in keys),
                      _in(f, "mae", 4), _in(f, "mae_raw", 4)] for n, f in every]))  # fmt: skip
        keys = [f"{k}_{p}" for k in ("rotation", "rotation_free") for p in ("p50", "p95")]
        keys += [f"{k}_p50" for k in ("pitch", "yaw", "roll")]
        out.append((f"{extractor}: rotation in degrees, landmarks in % of the eyes' distance",
                    ["clip", "p50", "p95", "offset removed p50", "p95", "pitch", "yaw", "roll",
                     "landmarks p50", "p95"],
                    [[n, *(_in(f, k, 2) for k in keys), _in(f, "landmarks_p50", 1),
                      _in(f, "landmarks_p95", 1)] for n, f in every]))  # fmt: skip
        out.append((f"{extractor}: presence, finding again, time",
                    ["clip", "found %", "losses", "astray %", "found again %", "frames until p50",
                     "max", "track ms p50", "p95", "cpu p50", "find ms p50", "search ms p50"],
                    [[n, _percent(f.get("presence")), _whole(f.get("losses")),
                      _percent(f.get("stray")), _percent(f.get("acquired")),
                      _in(f, "delay_p50", 0), _in(f, "delay_max", 0),
                      *(_in(f, k, 2) for k in ALONE[5:])] for n, f in every]))  # fmt: skip
    judged = [r.agreement for r in clips if r.agreement is not None]
    if judged:
        each = per_coefficient(judged)
        out.append((f"{extractor}: coefficients", ["coefficient", "clips", "r", "worst r", "MAE"], [
            [name, str(sum(math.isfinite(a.r[k]) for a in judged)), _number(each[k], 2),
             _number(min([a.r[k] for a in judged if math.isfinite(a.r[k])], default=math.nan), 2),
             _number(middle([a.error[k] for a in judged]), 4)]
            for k, name in enumerate(ARKIT46)]))  # fmt: skip
    empty = [r for r in results if not r.with_face]
    if empty:
        out.append((f"{extractor}: clips without a face", ["clip", "frames with one %",
                    "teacher %", "search ms p50", "p95"],
                    [[r.name, _percent(r.facts["false_presence"]), _percent(
                        r.facts["teacher_false"]), _in(r.facts, "searching_ms_p50", 2),
                      _in(r.facts, "searching_ms_p95", 2)] for r in empty]))  # fmt: skip
    return out


def show(extractor: str, results: Sequence[Result]) -> None:
    """All tables on standard output, and the two lines that matter most."""
    for title, header, lines in tables(extractor, results):
        print_table(title, header, lines)
    for line in headlines(results):
        print(f"\n{line}")


def headlines(results: Sequence[Result]) -> list[str]:
    """What is said first."""
    facts = together(results)
    if "r" not in facts:
        return []
    number = sum(r.agreement is not None for r in results)
    groups = ", ".join(f"{g} {facts[f'r_{g}']:.2f}" for g in GROUPS)
    return [
        f"{number} clips: median r {facts['r']:.3f} ({groups}); MAE {facts['mae']:.4f}; "
        f"rotation {facts['rotation_p50']:.2f}° / {facts['rotation_p95']:.2f}° (p50 / p95, medians "
        f"of clips), {facts.get('all_rotation_p50', math.nan):.2f}° / "
        f"{facts.get('all_rotation_p95', math.nan):.2f}° (frames), "
        f"{facts['rotation_free_p50']:.2f}° / {facts['rotation_free_p95']:.2f}° without a clip's "
        f"constant turn; {facts['tracking_ms_p50']:.2f} ms a tracking frame "
        f"({facts['tracking_cpu_ms_p50']:.2f} ms of processor time)."
    ]


def rows_of(extractor: str, results: Sequence[Result]) -> list[Row]:
    """Every known number with a stable name."""
    rows = []
    for name, facts in [*((r.name, r.facts) for r in results), ("all", together(results))]:
        rows += [Row(f"track.{name}.{extractor}.{key}", float(value), unit_of(key))
                 for key, value in facts.items() if math.isfinite(value)]  # fmt: skip
    for result in results:
        if result.agreement is not None:
            rows += [Row(f"track.{result.name}.{extractor}.r.{name}", float(value), "")
                     for name, value in zip(ARKIT46, result.agreement.r, strict=True)
                     if math.isfinite(value)]  # fmt: skip
    return rows


def unit_of(key: str) -> str:
    """The unit of a fact."""
    if "_ms_" in key:
        return "ms"
    return next((unit for start, unit in UNITS.items() if key.startswith(start)), "")


def as_markdown(
    path: Path, extractor: str, results: Sequence[Result], made: Mapping[str, Any]
) -> None:
    """The page; LocalError names a place that cannot be written."""
    lines = [f"# Tracking: `{extractor}` against MediaPipe FaceLandmarker on single frames", "",
             f"`{made['command']}`", "", f"Commit {str(made['commit'])[:12]}"
             + ("+" if str(made["commit"]).endswith("+") else "")
             + f", {made['date']}, {made['hardware']}.", ""]  # fmt: skip
    lines += headlines(results)
    for title, header, body in tables(extractor, results):
        lines += ["", f"## {title}", "", "| " + " | ".join(header) + " |",
                  "|---|" + "---:|" * (len(header) - 1)]  # fmt: skip
        lines += ["| " + " | ".join(row) + " |" for row in body]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise LocalError(f"cannot write {path}: {error.strerror}; name another place") from error


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _in(facts: Mapping[str, float], key: str, digits: int) -> str:
    return _number(facts.get(key), digits)


def _whole(value: float | None) -> str:
    return _number(value, 0)


def _percent(share: float | None) -> str:
    return _number(None if share is None else 100 * share, 1)
