"""The recording script: what the person is asked to do, for how long, and what counts as done.

The rule: a script is a table; asked for another length its steps are stretched together. A step
may have goals, measured by a tracker where there is one (degrees of the head, coefficients of
the face); a step without goals only takes time. Texts are plain ASCII: the window's font has
nothing else. "Left" and "right" are the person's own, which is where a mirror shows them (and
+yaw is to the person's left: docs/conventions.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from quic_transport.params import ARKIT46, EXPRESSION_DIM

NOMINAL_S = 100.0
MIN_STEP_S = 1.2  # shorter prompts cannot be read and followed


@dataclass(frozen=True, slots=True)
class Goal:
    """A number that has to be reached once within a step."""

    measure: str
    """"yaw", "pitch" or "roll" in degrees (docs/conventions.md), or a coefficient's name;
    a name without its side ("eyeBlink") means the smaller of both sides."""
    least: float
    """To be reached or passed; a negative one is passed downwards."""

    def reached_by(self, value: float) -> bool:
        """Whether a measured value is enough (NaN never is)."""
        return value >= self.least if self.least >= 0 else value <= self.least


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do."""

    key: str
    """Short name, unique in a script."""
    title: str
    """What to do, in a few words."""
    detail: str
    """How to do it, or the text to read aloud."""
    seconds: float
    """How long it is asked for."""
    goals: tuple[Goal, ...] = ()
    """All are to be reached within the step; without any, its time is all there is."""
    toward: tuple[float, float] | None = None
    """(x, y) in -1..1, where an arrow on the mirrored picture points: x right, y down."""
    again: str = ""
    """Advice for when the goals were missed; empty for steps without."""


@dataclass(frozen=True, slots=True)
class Script:
    """A recording, step by step."""

    steps: tuple[Step, ...]
    """In order."""

    @property
    def seconds(self) -> float:
        """How long all steps take."""
        return sum(step.seconds for step in self.steps)


def measured(measure: str, rotation_deg: tuple[float, float, float], face: list[float]) -> float:
    """The value of a goal's measure; `rotation_deg` is (pitch, yaw, roll), `face` 46 numbers."""
    angles = dict(zip(("pitch", "yaw", "roll"), rotation_deg, strict=True))
    if measure in angles:
        return angles[measure]
    if len(face) != EXPRESSION_DIM:
        return float("nan")
    if measure in ARKIT46:
        return face[ARKIT46.index(measure)]
    sides = [face[ARKIT46.index(measure + side)] for side in ("Left", "Right")]
    return min(sides)


_TURN = "as far as you can still see the screen from the corner of your eye; then come back"
_READ_1 = (
    "The quick beige fox jumped in the air over each thin dog. Look out, I shout, for he has "
    "foiled you again, creating chaos."
)
_READ_2 = (
    "We would rather watch five thick clouds move past the bright beach house. Papa bought my "
    "mother a big blue vase, and she was very pleased."
)


def _turn(key: str, title: str, goal: Goal, toward: tuple[float, float], detail: str) -> Step:
    return Step(
        key,
        title,
        detail,
        4.0,
        (goal,),
        toward,
        f"{title[0].lower()}{title[1:]}, and further than before",
    )


STEPS: tuple[Step, ...] = (
    Step("neutral", "Look into the camera, relaxed", "Mouth closed, no smile, hold still.", 5.0),
    Step("count", "Count aloud from 1 to 15", "In your normal voice, looking at the camera.",
         8.0, (Goal("jawOpen", 0.08),), again="speak louder and clearer"),
    Step("open", "Open your mouth wide", "As at the dentist. Close it, then once more.", 4.0,
         (Goal("jawOpen", 0.55),), again="open your mouth as wide as you can"),
    Step("ooh", "Say 'ooh', then kiss", "Lips round and forward, then a kiss.", 4.0,
         (Goal("mouthPucker", 0.5),), again="push your lips forward, as for a kiss"),
    Step("sides", "Mouth to the left, to the right", "Shift your lips and jaw, slowly.", 4.0),
    Step("teeth", "Show your upper and lower teeth", "Bite gently and draw your lips back.", 4.0,
         (Goal("mouthUpperUp", 0.3),), again="draw your lips back from your teeth"),
    Step("roll", "Press and roll in your lips", "As after putting on lip balm.", 3.0),
    Step("smile", "Smile, first closed, then laughing", "A small smile, then a broad one.", 5.0,
         (Goal("mouthSmile", 0.5),), again="smile more broadly"),
    Step("frown", "Corners of the mouth down", "A sad face, then a disgusted one.", 3.0),
    Step("brows-up", "Raise your eyebrows", "Surprise. Up, down, up.", 3.0,
         (Goal("browInnerUp", 0.35),), again="raise your eyebrows higher"),
    Step("brows-down", "Frown with your eyebrows", "An angry face.", 3.0,
         (Goal("browDown", 0.3),), again="draw your eyebrows together"),
    Step("blink", "Close your eyes, open them, blink", "Closed for a second, then blink thrice.",
         4.0, (Goal("eyeBlink", 0.5),), again="close your eyes fully"),
    Step("wink", "Wink with one eye, then the other", "As well as you can.", 3.0),
    Step("gaze", "Only your eyes: left, right, up, down", "Keep your head still.", 5.0,
         (Goal("eyeLookInLeft", 0.3), Goal("eyeLookInRight", 0.3)),
         again="look further to both sides, with your eyes only"),
    _turn("left", "Turn your head slowly to your left", Goal("yaw", 25.0), (-1, 0),
          f"Go {_TURN}."),
    _turn("right", "Turn your head slowly to your right", Goal("yaw", -25.0), (1, 0),
          f"Go {_TURN}."),
    _turn("up", "Lift your chin slowly", Goal("pitch", -10.0), (0, -1),
          "Until you look at the ceiling's edge; then come back."),
    _turn("down", "Lower your chin slowly", Goal("pitch", 12.0), (0, 1),
          "Keep your eyes on the camera; then come back."),
    Step("tilt", "Tilt your head to each shoulder", "Slowly, left, then right.", 4.0,
         (Goal("roll", 7.0), Goal("roll", -7.0)), again="tilt your head further to both sides"),
    Step("circle", "Draw a slow circle with your nose", "Once around, about this wide.", 4.0),
    Step("read-1", "Read this aloud", _READ_1, 9.0),
    Step("read-2", "Read this aloud", _READ_2, 9.0),
)  # fmt: skip

DROP_FIRST = ("wink", "roll", "sides", "frown", "circle", "teeth", "tilt", "brows-down", "ooh",
              "read-2", "gaze", "brows-up", "up", "down", "blink", "count")  # fmt: skip


def script_of(seconds: float = NOMINAL_S) -> Script:
    """The recommended recording in about `seconds`; steps that get too short are left out.

    Left out in the order of DROP_FIRST: the head's turns and the talking stay longest.
    """
    steps, drop = STEPS, list(DROP_FIRST)
    scale = seconds / sum(step.seconds for step in steps)
    while drop and min(step.seconds for step in steps) * scale < MIN_STEP_S:
        key = drop.pop(0)
        steps = tuple(step for step in steps if step.key != key)
        scale = seconds / sum(step.seconds for step in steps)
    return Script(tuple(replace(step, seconds=step.seconds * scale) for step in steps))
