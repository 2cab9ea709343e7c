"""A picture of a trace: its rate over time, its gaps, and delay and loss where recorded.

The rule: the rate axis is logarithmic, because traces span decades, and what is 0 is shaded.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from netsim.errors import NetsimError
from netsim.traces import Trace

POINTS = 1200


def plot(trace: Trace, path: Path) -> None:
    """Write the picture as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    step = max(trace.duration_s / POINTS, 0.01)
    kbps = trace.binned_kbps(step)
    time = step * np.arange(len(kbps))
    columns = [(trace.delay_ms, "one-way delay, ms"), (trace.loss, "loss, %")]
    extra = [(values, label) for values, label in columns if values is not None]
    figure = Figure(figsize=(9, 3 + 1.4 * len(extra)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(
        1 + len(extra), 1, sharex=True, squeeze=False,
        height_ratios=[2.2] + [1] * len(extra),
    )[:, 0]  # fmt: skip
    rate = axes[0]
    shown = np.where(kbps > 0, kbps, np.nan)
    rate.step(time, shown, where="post", linewidth=0.9, color="#20507a")
    if np.isfinite(shown).any():
        rate.set_yscale("log")
    rate.fill_between(
        time, 0, 1, where=kbps == 0, step="post", color="#c03020", alpha=0.25, linewidth=0,
        transform=rate.get_xaxis_transform(),
    )  # fmt: skip
    rate.axhline(trace.mean_kbps(), color="#888888", linewidth=0.8, linestyle="--")
    rate.set_ylabel("kbit/s")
    rate.set_title(
        f"{trace.name or 'trace'}: {trace.duration_s:g} s, mean {trace.mean_kbps():.0f} kbps, "
        f"longest gap {trace.longest_gap_s():.1f} s",
        fontsize=10,
    )
    for axis, (values, label) in zip(axes[1:], extra, strict=True):
        scale = 100.0 if label.startswith("loss") else 1.0
        axis.step(trace.starts_s, values * scale, where="post", linewidth=0.9, color="#20507a")
        axis.set_ylabel(label)
    axes[-1].set_xlabel("s")
    axes[-1].set_xlim(0, trace.duration_s)
    try:
        figure.savefig(path, dpi=100, format="png")
    except OSError as error:
        raise NetsimError(f"{path} cannot be written ({error.strerror or error})") from None
