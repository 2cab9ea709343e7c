"""The report's page: sections → one HTML file that needs nothing else.

The rule: no script, no link, no font from anywhere (its own content policy forbids them); all
text from files is escaped; colours are variables, so light and dark are one stylesheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from portrait.report_advice import AGAIN, Advice

STYLE = """
:root { color-scheme: light dark; --back: #fbfbfa; --card: #fff; --ink: #1d2126; --quiet: #667080;
  --rule: #e0e3e8; --good: #1f8a4c; --mild: #a86400; --bad: #c0343a; --fill: #2f6fb5;
  --c0: #2f6fb5; --c1: #c4622d; --c2: #4b8f3a; --c3: #8a4fb0; --c4: #b03a6f; --c5: #6b6f3a; }
@media (prefers-color-scheme: dark) { :root { --back: #15181c; --card: #1d2127; --ink: #e7eaee;
  --quiet: #98a2b0; --rule: #343a44; --good: #5bc98a; --mild: #f0ae4e; --bad: #ff7b7b;
  --fill: #6aa9ec; --c0: #6aa9ec; --c1: #f09a63; --c2: #86cf74; --c3: #c08fe6; --c4: #ee85b1;
  --c5: #c2c77a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 16px; max-width: 1040px; background: var(--back);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.35rem; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 32px 0 8px; }
p { margin: 4px 0 10px; } .quiet, figcaption { color: var(--quiet); font-size: .85rem; }
.verdict { border-left: 6px solid var(--good); background: var(--card); padding: 12px 16px;
  margin: 12px 0; font-size: 1.1rem; font-weight: 600; }
.verdict.usable { border-color: var(--mild); } .verdict.again { border-color: var(--bad); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 8px;
  margin: 12px 0; } dl div { background: var(--card); padding: 8px 12px; }
dt { color: var(--quiet); font-size: .8rem; } dd { margin: 0; overflow-wrap: anywhere; }
ul.advice { list-style: none; padding: 0; } ul.advice li { background: var(--card);
  border-left: 4px solid var(--mild); padding: 6px 12px; margin: 6px 0; }
ul.advice li.again { border-color: var(--bad); } ul.advice li.good { border-color: var(--good); }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(132px, 1fr)); gap: 8px; }
figure { margin: 0; } figure img { width: 100%; height: auto; display: block; border-radius: 4px; }
.wide { overflow-x: auto; background: var(--card); padding: 8px; margin: 6px 0; }
.wide svg { min-width: 620px; width: 100%; height: auto; display: block; }
.bars { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 8px; }
.bars svg, .map svg { width: 100%; height: auto; display: block; }
.bars > div, .map { background: var(--card); padding: 8px; } .map { max-width: 620px; }
.key { display: inline-block; margin: 0 14px 4px 0; font-size: .85rem; }
.key::before { content: ""; display: inline-block; width: 12px; height: 12px; margin-right: 5px;
  border-radius: 2px; background: var(--quiet); vertical-align: -1px; }
svg text { font: 11px system-ui, sans-serif; fill: var(--quiet); }
.grid { stroke: var(--rule); stroke-width: 1; } .curve { fill: none; stroke-width: 1.3;
  stroke-linejoin: round; } .gone { stroke: var(--bad); stroke-opacity: .35; }
.held { fill: var(--quiet); fill-opacity: .13; } .full, .used { fill: var(--fill); }
.empty { fill: none; stroke: var(--rule); } .missing { fill: none; stroke: var(--bad);
  stroke-dasharray: 3 2; } .unused { fill: var(--quiet); } .track { fill: var(--rule); }
.extreme { stroke: var(--ink); stroke-width: 1.5; } .kept { fill: var(--good);
  fill-opacity: .35; }
"""
PALETTE = "".join(
    f".c{i} {{ stroke: var(--c{i}); }} .k{i}::before, .q{i}::before {{ background: var(--c{i}); }} "
    f".r{i} {{ fill: var(--c{i}); }}\n"
    for i in range(6)
)
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it."""

    title: str
    """Plain text."""
    body: str
    """HTML."""
    note: str = ""
    """Plain text under the heading: how to read it."""


def figure(uri: str, caption: str) -> str:
    """A picture with its caption."""
    return (
        f'<figure><img src="{uri}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def sheet(figures: Sequence[str]) -> str:
    """Pictures side by side, as many as fit."""
    return f'<div class="sheet">{"".join(figures)}</div>'


def plot(title: str, drawing: str, keys: str = "") -> str:
    """A drawing that scrolls sideways on a phone; nothing where there is no drawing."""
    if not drawing:
        return ""
    return f'<p>{escape(title)} {keys}</p><div class="wide">{drawing}</div>'


def advice_list(advice: Sequence[Advice]) -> str:
    """Advice as a list, the grave ones marked."""
    items = "".join(
        f'<li class="{"again" if a.level == AGAIN else "better"}">{escape(_sentence(a.text))}</li>'
        for a in advice
    )
    return f'<ul class="advice">{items}</ul>'


def praise_list(sentences: Sequence[str]) -> str:
    """What is good, as a list; nothing where nothing is."""
    items = "".join(f'<li class="good">{escape(_sentence(text))}</li>' for text in sentences)
    return f'<ul class="advice">{items}</ul>' if items else ""


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def numbers(pairs: Sequence[tuple[str, str]]) -> str:
    """Names and values as tiles."""
    tiles = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in pairs)
    return f"<dl>{tiles}</dl>"


def page(
    title: str, level: str, verdict: str, facts: Sequence[tuple[str, str]],
    sections: Sequence[Section],
) -> str:  # fmt: skip
    """The whole document; sections without a body are left out."""
    kind = {"film again": "again", "usable": "usable"}.get(level, "good")
    body = "".join(
        f"<section><h2>{escape(s.title)}</h2>"
        f'{f"""<p class="quiet">{escape(s.note)}</p>""" if s.note else ""}{s.body}</section>\n'
        for s in sections
        if s.body
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{PALETTE}</style></head><body>\n"
        f'<h1>{escape(title)}</h1>\n<p class="verdict {kind}">{escape(verdict)}</p>\n'
        f"{numbers(facts)}\n{body}</body></html>\n"
    )
