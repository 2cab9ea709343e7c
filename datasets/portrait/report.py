"""report.html: what is good about a finished set, what is not, and what to film again.

The rule: it is made of the set alone (facts.npz, transforms.json and the stored pictures), so it
can be written again at any time, and what is wrong in the set is visible in it.
"""

from __future__ import annotations

from pathlib import Path

from nerf.trainset import TrainSetError, read_trainset
from portrait.report_advice import advise, verdict
from portrait.report_facts import read_facts
from portrait.report_page import Section, advice_list, page, praise_list
from portrait.report_pictures import good_frames, matte_frames, worst_frames
from portrait.report_praise import praise
from portrait.report_sections import (
    expressions,
    frames,
    heads,
    key_numbers,
    left_out,
    over_time,
    products,
    turns,
)
from quic_transport.errors import LocalError
from quic_transport.params import EXPRESSION_DIM, SCHEMAS


def write_report(folder: Path) -> Path:
    """Write `folder`/report.html of a finished training set; LocalError where it is not one."""
    try:
        trainset = read_trainset(folder)
    except TrainSetError as error:
        raise LocalError(str(error)) from error
    facts = read_facts(folder)
    advice = advise(facts)
    level, line = verdict(facts, advice)
    names = SCHEMAS.get(trainset.schema, tuple(str(i) for i in range(EXPRESSION_DIM)))
    sections = [
        Section("What to film again",
                advice_list(advice) if advice else ""),
        Section("What is good", praise_list(praise(facts, advice))),
        Section("Good frames", frames(folder, facts, good_frames(facts)),
                "Spread over the turns and expressions of the clip."),
        Section("Heads cut out", heads(folder, facts, matte_frames(facts)),
                "Over checks: white rims and missing hair will be seen in the avatar."),
        Section("Background, classes, torso", products(folder, facts, matte_frames(facts)),
                "Blue: head with hair; green: neck; red: torso."),
        Section("Doubtful frames", frames(folder, facts, worst_frames(facts), landmarks=True),
                "In the set all the same; the worst of each kind, with what the tracker saw."),
        Section("Over time", over_time(facts, trainset),
                "Red: left-out frames. Grey: held out, not trained on."),
        Section("Where the head was turned", turns(facts),
                "As in a mirror. Stronger colour: more frames; dashed: views to be guessed."),
        Section("Expressions", expressions(facts, names),
                "Bar: from the 1st to the 99th percentile; tick: largest value; number: in how "
                "many frames it is in use."),
        Section("Left-out frames", left_out(facts)),
    ]  # fmt: skip
    text = page(f"Training set of {trainset.source or folder.name}", level, line,
                key_numbers(facts, trainset), sections)  # fmt: skip
    path = folder / "report.html"
    temporary = folder / "report.html.tmp"
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    return path
