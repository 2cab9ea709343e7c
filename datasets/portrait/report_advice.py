"""What to film again, in sentences with numbers: facts of a clip → advice.

The rule: pure functions; every sentence says how much was found in how many frames, when, and
what to do. The thresholds stand here, with their reasons, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from portrait.report_facts import ClipFacts
from portrait.report_measures import blurred, clock, light_step, percent, smoothed, span
from quic_transport.params import SCHEMAS

AGAIN, BETTER = "film again", "could be better"

LENGTH_AGAIN_S, LENGTH_GOOD_S = 20.0, 45.0  # of usable face; the script asks for 100
KEPT_AGAIN, KEPT_GOOD = 0.6, 0.9  # share of looked-at frames that are usable
FACE_AGAIN_PX, FACE_GOOD_PX = 120.0, 180.0  # brow to chin; the portrait shows it 250 px high
CUT_TOP = 0.03  # of the frames: hair that is missing now and then becomes a flickering head
WISHED_DEG = {"yaw": 25, "pitch": 15}  # what a call's view may turn to without guessing
NEVER_DEG = {"yaw": 12.0, "pitch": 6.0, "roll": 4.0}  # less than a nod of a talking head
SELDOM = 0.005  # of the frames: fewer examples of a shape are not learned
LIGHT_STEP = 0.10  # of the brightness within a second: a lamp or the camera's own exposure
LIGHT_RANGE = 0.30  # of the brightness over the clip, p5 to p95 of its one-second means
DARK, BRIGHT = 60.0, 215.0  # mean grey of the face, 0..255
BLUR_SHARE = 0.03
ERROR_PX_PER_FACE = 0.02  # reprojection error of a frame, in face heights, that is suspicious
ERROR_SHARE = 0.03


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing that would make a better clip."""

    level: str
    """AGAIN: the avatar will show it; BETTER: it would gain from it."""
    topic: str
    """"length", "left out", "framing", "turns", "expressions", "light", "sharpness", "tracking"."""
    text: str
    """A sentence with numbers, and what to do."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A shape of the face that a good clip shows."""

    saying: str
    """As in "... in 3 of 1500 frames"."""
    names: tuple[str, ...]
    """arkit46 names; the frame counts where all of them reach `least`."""
    least: float
    """0..1."""
    remedy: str
    """What to do while filming."""
    level: str = BETTER
    """AGAIN where an avatar without it looks wrong in every call."""


WANTED: tuple[Wanted, ...] = (
    Wanted("mouth wide open", ("jawOpen",), 0.5, "say a long \"aah\" a few times"),
    Wanted("eyes closed", ("eyeBlinkLeft", "eyeBlinkRight"), 0.45,
           "blink as usual, and once keep the eyes closed for a second", AGAIN),
    Wanted("a clear smile", ("mouthSmileLeft", "mouthSmileRight"), 0.4, "smile, then laugh"),
    Wanted("lips pushed forward", ("mouthPucker",), 0.45, "say \"ooh\", and kiss the air"),
    Wanted("upper teeth shown", ("mouthUpperUpLeft", "mouthUpperUpRight"), 0.3,
           "draw the lips back from the teeth"),
    Wanted("brows raised", ("browInnerUp",), 0.35, "look surprised"),
    Wanted("brows drawn together", ("browDownLeft", "browDownRight"), 0.3, "look angry"),
    Wanted("eyes turned to your left", ("eyeLookOutLeft", "eyeLookInRight"), 0.35,
           "look left with your eyes only"),
    Wanted("eyes turned to your right", ("eyeLookInLeft", "eyeLookOutRight"), 0.35,
           "look right with your eyes only"),
    Wanted("eyes turned up", ("eyeLookUpLeft", "eyeLookUpRight"), 0.2, "look at the ceiling"),
    Wanted("eyes turned down", ("eyeLookDownLeft", "eyeLookDownRight"), 0.35,
           "look at the table"),
)  # fmt: skip

REMEDIES = {
    "no face": "stay in the picture and face the camera",
    "face too small": "come closer to the camera",
    "turned away": "turn the head only as far as you can still see the screen",
    "face at the picture's edge": "stay in the middle of the picture",
    "tracker jumped": "more light from the front, no hands before the face",
}

# (angle, sign, what never happened); +yaw is the picture's right, the person's left.
TURNS = (
    ("yaw", 1, "looked left"), ("yaw", -1, "looked right"),
    ("pitch", -1, "looked up"), ("pitch", 1, "looked down"),
)  # fmt: skip
ANGLES = ("pitch", "yaw", "roll")


def on_length(facts: ClipFacts) -> list[Advice]:
    """Seconds of usable face."""
    seconds = facts.usable_s
    if round(seconds) >= LENGTH_GOOD_S:
        return []
    level = AGAIN if seconds < LENGTH_AGAIN_S else BETTER
    return [Advice(level, "length", f"only {seconds:.0f} s of usable face: 60 to 120 s make a "
                   "better avatar")]  # fmt: skip


def on_left_out(facts: ClipFacts) -> list[Advice]:
    """Frames that could not be used, for the two commonest reasons."""
    total = len(facts.time)
    if facts.kept.mean() >= KEPT_GOOD:
        return []
    level = AGAIN if facts.kept.mean() < KEPT_AGAIN else BETTER
    out = []
    for reason, count in list(facts.left_out().items())[:2]:
        if count >= 0.02 * total:
            remedy = REMEDIES.get(reason, "see the frames below")
            where = span(facts.time[facts.reason == reason])
            out.append(Advice(level, "left out", f"{reason} in {count} of {total} frames "
                              f"({percent(count / total)}, {where}): {remedy}"))  # fmt: skip
    return out


def on_framing(facts: ClipFacts) -> list[Advice]:
    """Size and place of the face in the picture."""
    out = []
    if np.isfinite(height := facts.median("face_px")) and height < FACE_GOOD_PX:
        level = AGAIN if height < FACE_AGAIN_PX else BETTER
        out.append(Advice(level, "framing", f"face only {height:.0f} px high: come closer, "
                          f"film larger; {FACE_GOOD_PX:.0f} px and more look sharp"))  # fmt: skip
    cut = facts.top_cut[facts.kept]
    if cut.mean() > CUT_TOP:
        level = AGAIN if cut.mean() > 0.5 else BETTER
        where = span(facts.time[facts.kept][cut])
        out.append(Advice(level, "framing", f"head cut off at the top in {percent(cut.mean())} of "
                          f"frames ({where}): tilt the camera up or move back"))  # fmt: skip
    return out


def on_turns(facts: ClipFacts) -> list[Advice]:
    """How far the head turned, in each direction."""
    rotation = facts.rotation_deg[facts.kept]
    out = []
    for angle, sign, what in TURNS:
        values = sign * rotation[:, ANGLES.index(angle)]
        furthest = float(np.percentile(values, 99.5)) if len(values) else 0.0
        if furthest < NEVER_DEG[angle]:
            most = f"{furthest:.0f}° at most" if furthest >= 1 else "not even 1°"
            out.append(Advice(BETTER, "turns", f"you never {what} ({most}): turn the head slowly "
                              f"that way, to {WISHED_DEG[angle]}° and more"))  # fmt: skip
    roll = rotation[:, 2]
    if len(roll) and float(np.ptp(np.percentile(roll, [0.5, 99.5]))) < 2 * NEVER_DEG["roll"]:
        out.append(Advice(BETTER, "turns", "you never tilted the head: tilt it slowly to each "
                          "shoulder"))  # fmt: skip
    return out


def shown_by(facts: ClipFacts) -> list[tuple[Wanted, int]]:
    """Every wanted shape with the number of frames that show it; nothing for other schemas."""
    if facts.schema != "arkit46":
        return []
    names, face = SCHEMAS[facts.schema], facts.expression[facts.kept]
    return [
        (w, int((face[:, [names.index(n) for n in w.names]] >= w.least).all(axis=1).sum()))
        for w in WANTED
    ]


def share_of(facts: ClipFacts) -> float:
    """Frames that a shape needs so that it is learned."""
    return max(1.0, SELDOM * float(facts.kept.sum()))


def on_expressions(facts: ClipFacts) -> list[Advice]:
    """Shapes of the face that are rare or missing."""
    total = int(facts.kept.sum())
    out = []
    for wanted, count in shown_by(facts):
        if count < share_of(facts):
            level = wanted.level if count < 0.5 * SELDOM * total or not count else BETTER
            out.append(Advice(level, "expressions", f"{wanted.saying} in {count} of {total} "
                              f"frames: {wanted.remedy}"))  # fmt: skip
    return out


def on_light(facts: ClipFacts) -> list[Advice]:
    """Too dark, too bright, or changing."""
    rows = facts.kept & np.isfinite(facts.brightness)
    time, level = facts.time[rows], facts.brightness[rows]
    if len(level) < 3:
        return []
    out = []
    middle = float(np.median(level))
    if middle < DARK:
        out.append(Advice(AGAIN, "light", f"the face is dark (mean grey {middle:.0f} of 255): put "
                          "a light in front of you"))  # fmt: skip
    elif middle > BRIGHT:
        out.append(Advice(AGAIN, "light", f"the face is overexposed (mean grey {middle:.0f} of "
                          "255): less light, or lock the camera's exposure"))  # fmt: skip
    when, change = light_step(time, level, facts.rotation_deg[rows])
    if abs(change) > LIGHT_STEP:
        out.append(Advice(BETTER, "light", f"light changed by {100 * change:+.0f} % at "
                          f"{clock(when)}: even light, and the camera's automatic exposure "
                          "off"))  # fmt: skip
    else:
        low, high = np.percentile(smoothed(time, level), [5, 95])
        if high / max(low, 1.0) - 1 > LIGHT_RANGE:
            out.append(Advice(BETTER, "light", f"brightness of the face wanders by "
                              f"{100 * (high / max(low, 1.0) - 1):.0f} %: light from the front, "
                              "not from one side"))  # fmt: skip
    return out


def on_sharpness(facts: ClipFacts) -> list[Advice]:
    """Frames that are blurred by motion."""
    soft = blurred(facts)
    kept = int(facts.kept.sum())
    if soft.sum() <= BLUR_SHARE * kept:
        return []
    return [Advice(BETTER, "sharpness", f"blurred by motion in {int(soft.sum())} of {kept} frames "
                   f"({span(facts.time[soft])}): move more slowly, in more light")]  # fmt: skip


def on_tracking(facts: ClipFacts) -> list[Advice]:
    """Frames whose pose does not explain the landmarks."""
    with np.errstate(invalid="ignore"):
        bad = facts.kept & (facts.error_px > ERROR_PX_PER_FACE * facts.face_px)
    kept = int(facts.kept.sum())
    if bad.sum() <= ERROR_SHARE * kept:
        return []
    worst = float(np.nanpercentile(facts.error_px[bad], 95))
    return [Advice(BETTER, "tracking", f"the head's position is uncertain in {int(bad.sum())} of "
                   f"{kept} frames ({span(facts.time[bad])}; up to {worst:.0f} px): light from "
                   "the front, no hair or hands over the face")]  # fmt: skip


def advise(facts: ClipFacts) -> list[Advice]:
    """Everything that would make a better clip, the gravest first."""
    if not facts.kept.any():
        return [*on_left_out(facts)] or [Advice(AGAIN, "length", "no frame can be used")]
    topics = (on_length, on_left_out, on_framing, on_light, on_sharpness, on_tracking, on_turns,
              on_expressions)  # fmt: skip
    found = [advice for topic in topics for advice in topic(facts)]
    return sorted(found, key=lambda advice: advice.level != AGAIN)


def verdict(facts: ClipFacts, advice: Sequence[Advice]) -> tuple[str, str]:
    """("good", "usable" or "film again", one line)."""
    kept, total = int(facts.kept.sum()), len(facts.time)
    again = sum(a.level == AGAIN for a in advice)
    counts = f"{kept} of {total} frames in the set, {facts.usable_s:.0f} s of face"
    if again:
        things = "one thing" if again == 1 else f"{again} things"
        return "film again", f"Better filmed again: {counts}; {things} will show in the avatar."
    if advice:
        things = "one thing" if len(advice) == 1 else f"{len(advice)} things"
        return "usable", f"Usable: {counts}; {things} could be better."
    return "good", f"Good: {counts}; nothing to film again."
