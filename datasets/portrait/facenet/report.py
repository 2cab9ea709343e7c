"""The report of a training run: report.json for machines, report.md for people.

The rule: numbers come from people that the networks never saw; nobody is named.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from portrait.facenet.judge import GROUPS, Judgement

LINES = {
    "r_median": "correlation within a person, median over coefficients",
    "r_mean": "the same, mean",
    "mae": "mean error of a coefficient",
    "mae_offset_removed": "the same with each person's constant offset removed",
    "rotation_median_deg": "rotation error, median, degrees",
    "rotation_p95_deg": "rotation error, 95th percentile, degrees",
    "landmarks_px": "mean landmark error per axis, pixels of the 112 px crop",
    "presence_low": "presence of a face, 1st percentile",
}


def report_of(
    people: Mapping[str, int], sha: str, settings: Mapping[str, Any], judgement: Judgement,
    detector: Mapping[str, float], sizes: Mapping[str, int], differences: Mapping[str, float],
) -> dict[str, Any]:  # fmt: skip
    """Everything in one dictionary that JSON can hold: no NaN, few digits."""
    return {
        "data": {**people, "sha256": sha},
        "settings": dict(settings),
        "files": dict(sizes),
        "onnx_minus_torch": {k: _short(v) for k, v in differences.items()},
        "held_out": {k: _short(v) for k, v in judgement.facts.items()},
        "detector": {k: _short(v) for k, v in detector.items()},
        "coefficients": {
            name: {"r": _short(r), "mae_offset_removed": _short(mae)}
            for name, (r, mae) in judgement.coefficients.items()
        },
        "people": [{k: _short(v) for k, v in p.items()} for p in judgement.people],
    }


def as_markdown(report: Mapping[str, Any]) -> str:
    """The report as tables."""
    data, held, found = report["data"], report["held_out"], report["detector"]
    text = [
        "# Training report of PE-Net and FB-Net",
        "",
        f"Learnt from {data['crops']} crops of {data['people']} people, "
        f"{data['performer_crops']} crops of {data['performers']} performers and "
        f"{data['empty_crops']} crops without a face; judged by {data['held_out_crops']} crops of "
        f"{data['held_out_people']} people who are in neither. Data: SHA-256 {data['sha256']}.",
        "",
        "| held-out people, crops placed by the labels | |",
        "|---|---|",
        *(f"| {what} | {_shown(held[key])} |" for key, what in LINES.items()),
        f"| faces of 27 to 58 px that FB-Net finds | {100 * found['found']:.1f} % |",
        f"| windows without a face where it sees one | {100 * found['false']:.1f} % |",
        "",
        "| group | r |",
        "|---|---|",
        *(f"| {name} | {_shown(held[f'r_{name}'])} |" for name in GROUPS),
        "",
        "| coefficient | r | error, offset removed |",
        "|---|---|---|",
        *(
            f"| {name} | {_shown(row['r'])} | {_shown(row['mae_offset_removed'])} |"
            for name, row in report["coefficients"].items()
        ),
        "",
        "| person | crops | r | error, offset removed | rotation, degrees |",
        "|---|---|---|---|---|",
        *(
            f"| {k} | {p['crops']:.0f} | {_shown(p['r'])} | {_shown(p['mae_offset_removed'])} | "
            f"{_shown(p['rotation_median_deg'])} |"
            for k, p in enumerate(report["people"], 1)
        ),
        "",
        "– : nobody moves this coefficient enough to be correlated.",
        "",
    ]
    return "\n".join(text)


def _short(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.4g}")


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
