"""What is good about a clip, in sentences with numbers: the counterpart of portrait.report_advice.

The rule: a topic is praised only where there is no advice on it, by the same thresholds, so the
two lists can't contradict each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from portrait.report_advice import ANGLES, NEVER_DEG, TURNS, Advice, share_of, shown_by
from portrait.report_facts import ClipFacts
from portrait.report_measures import blurred, smoothed


def praise(facts: ClipFacts, advice: Sequence[Advice]) -> list[str]:
    """Sentences without their full stop; nothing about what is unknown."""
    if not facts.kept.any():
        return []
    faulty = {a.topic for a in advice}
    out = []
    if "length" not in faulty and "left out" not in faulty:
        share = facts.kept.mean()
        out.append(f"{facts.usable_s:.0f} s of usable face, {100 * share:.0f} % of the frames")
    if "framing" not in faulty and np.isfinite(height := facts.median("face_px")):
        out.append(f"the face is {height:.0f} px high, and the head is wholly in the picture")
    if "light" not in faulty and (light := _light(facts)):
        out.append(light)
    if "sharpness" not in faulty and np.isfinite(facts.sharpness[facts.kept]).any():
        soft = int(blurred(facts).sum())
        count = (
            f"only {soft} frames are"
            if soft > 1
            else "only one frame is"
            if soft
            else "no frame is"
        )
        out.append(f"{count} blurred by motion")
    if "tracking" not in faulty and np.isfinite(error := facts.median("error_px")):
        out.append(f"the head's position explains the landmarks to {error:.1f} px")
    if turns := _turns(facts):
        out.append(f"you {turns}")
    if shapes := _shapes(facts):
        out.append(f"shown often enough: {shapes}")
    return out


def _light(facts: ClipFacts) -> str:
    rows = facts.kept & np.isfinite(facts.brightness)
    if rows.sum() < 3:
        return ""
    low, high = np.percentile(smoothed(facts.time[rows], facts.brightness[rows]), [5, 95])
    return f"steady light: brightness within {max(1.0, 100 * (high / max(low, 1.0) - 1)):.0f} %"


def _turns(facts: ClipFacts) -> str:
    rotation = facts.rotation_deg[facts.kept]
    seen = []
    for angle, sign, what in TURNS:
        furthest = float(np.percentile(sign * rotation[:, ANGLES.index(angle)], 99.5))
        if furthest >= NEVER_DEG[angle]:
            seen.append(f"{what} ({furthest:.0f}°)")
    return " and ".join(seen) if len(seen) < 3 else f"{', '.join(seen[:-1])} and {seen[-1]}"


def _shapes(facts: ClipFacts) -> str:
    return ", ".join(wanted.saying for wanted, count in shown_by(facts) if count >= share_of(facts))
