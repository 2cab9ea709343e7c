"""`facewire bench rd`: rate and distortion beside x265, on frames that training never saw.

The rule: both sides are scored on the same frames against the same reference (head on white); our
pictures are drawn from *decoded* parameters, with the tracker's own poses as the sender codes them.
Reference: the paper, figure 4.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conference.bench.results import Row, document, print_table
from conference.statistics import write_json
from conference.terminal import announce
from quic_transport.errors import LocalError

if TYPE_CHECKING:
    from nerf.metrics import Likeness
    from nerf.trainset import TrainSet
    from sender.personal.model import PersonalModel

RATES_KBPS = (10.0, 15.0, 18.0, 25.0, 35.0, 50.0, 75.0, 100.0)
PACKET_BYTES = 57  # IP 20 + UDP 8 + QUIC short header, packet number, stream frame and tag 29
PAPER = {"kbps": 4.94, "psnr": 30.49, "ssim": 0.9360}
NAMES = ("psnr_whole", "psnr_head", "psnr_rimless", "ssim_whole", "ssim_head")


@dataclass(frozen=True, slots=True)
class CodecShare:
    """Where eg0's bits go."""

    kbps: float
    """Payload, whole bytes."""
    bits: float
    """Mean bits per frame before padding."""
    rotation_bits: float
    """Of those, mean bits for the three angles in predicted frames."""
    zeros: float
    """Share of residuals that are zero, 0..1."""


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(prog="facewire bench rd", description="rate-distortion vs x265")
    add = p.add_argument
    add("--avatar", type=Path, required=True, metavar="FILE.fwa", help="who is seen")
    add("--data", type=Path, required=True, metavar="DIR", help="the training set it came from")
    add("--size", type=int, default=512, metavar="PX", help="of the pictures; default 512")
    add("--fps", type=float, default=20.0, help="frames per second; default 20")
    add("--frames", type=int, metavar="N", help="at most so many frames; default: all held out")
    add("--json", type=Path, metavar="FILE", help="write the rows")
    add("--plot", type=Path, metavar="FILE.png", help="draw PSNR and SSIM against kbps")
    args = p.parse_args(argv)
    if args.size < 16 or args.size % 2:
        raise LocalError(f"--size must be even and at least 16, not {args.size}")
    if not args.fps > 0:
        raise LocalError(f"--fps must be above 0, not {args.fps:g}")
    return args


def main(argv: list[str]) -> int:
    """Run the bench; 0."""
    args = parse(argv)
    import numpy as np

    from conference.bench.x265 import code, rate_for
    from nerf.camera import head_pose
    from nerf.metrics import likeness, mean_likeness
    from nerf.renderer import load_head
    from nerf.trainset import TrainSetError, load_images, read_trainset
    from quic_transport.avatar_file import load_avatar
    from sender.personal.model import from_sections

    avatar = load_avatar(args.avatar)
    try:
        data = read_trainset(args.data)
        held = np.arange(data.train_count, len(data))
        if len(held) < 2:
            raise LocalError(f"{args.data} holds no frames out: it is too short for this bench")
        picked = held[_ticks(data.time[held], args.fps)][: args.frames]
        rgb, alpha = load_images(data, args.size, picked)
    except TrainSetError as error:
        raise LocalError(str(error)) from error
    if data.schema != avatar.meta.schema:
        raise LocalError(f"{args.avatar} and {args.data} have different expression schemas")
    announce(f"{len(picked)} held-out frames at {args.fps:g} fps, {args.size} px, {data.extractor}")
    head = load_head(avatar.sections, avatar.meta.distance_m, avatar.meta.portrait_scale)
    expression, rotation, views = as_sent(from_sections(avatar.sections), data, picked, args.size)
    decoded, share = through_codec(avatar.meta.bounds, expression, rotation, data.time[picked],
                                   args.fps)  # fmt: skip

    def score(draw: Callable[[int], Any]) -> Likeness:
        return mean_likeness([likeness(draw(i), rgb[i], alpha[i]) for i in range(len(picked))])

    def drawn(expressions: Any, angles: Any, i: int) -> Any:
        pose = head_pose(angles, avatar.meta.distance_m)
        return head.render(expressions, pose, views[i]).rgb

    raw = score(lambda i: drawn(expression[i], rotation[i], i))
    ours = score(lambda i: drawn(decoded[i].expression, decoded[i].rotation, i))
    wire = share.kbps + (PACKET_BYTES + 2) * 8 * args.fps / 1000
    curve: list[tuple[float, Likeness]] = []
    for target in RATES_KBPS:
        kbps, images = code(list(rgb), target, args.fps)
        curve.append((kbps, score(lambda i, images=images: images[i])))  # type: ignore[misc]
        announce(
            f"  x265 at {target:g} kbps: got {kbps:.1f} kbps, {curve[-1][1].psnr_whole:.2f} dB"
        )
    rates = [k for k, _ in curve]
    same_psnr = rate_for(ours.psnr_whole, rates, [q.psnr_whole for _, q in curve])
    same_ssim = rate_for(ours.ssim_whole, rates, [q.ssim_whole for _, q in curve])
    lines = [
        _line("facewire, unquantised", 49 * 32 * args.fps / 1000, raw),
        _line("facewire, eg0", share.kbps, ours),
        *[_line("x265", kbps, quality) for kbps, quality in curve],
    ]
    print_table("head on white, held-out frames",
                ["", "kbps", "PSNR", "head", "rimless", "SSIM", "SSIM head"], lines)  # fmt: skip
    explain(share, wire, same_psnr, same_ssim, rates, args.fps)
    rows = as_rows(share, wire, raw, ours, curve, same_psnr, same_ssim)
    if args.json is not None:
        write_json(args.json, document(["rd", *argv], rows))
    if args.plot is not None:
        plot(args.plot, share.kbps, ours, curve)
    return 0


def as_sent(personal: PersonalModel | None, data: TrainSet, picked: Any, size: int) -> Any:
    """Expressions [n, 46], rotations [n, 3] and the cameras under which a receiver's picture lies
    on the set's, of the frames `picked`: what the avatar's own tracker would have sent."""
    import numpy as np

    from conference.personal.sending import read_portrait, sent

    camera = data.camera.resized(size, size)
    if personal is None:
        return data.expression[picked], data.rotation[picked], [camera] * len(picked)
    faces = list(sent(personal, data, picked.tolist(), lambda i: read_portrait(data, i)))
    return (
        np.array([f.expression for f in faces]), np.array([f.rotation for f in faces]),
        [f.view(camera, data.distance_m)[1] for f in faces],
    )  # fmt: skip


def _ticks(times: Any, fps: float) -> Any:
    """Indices of the frames nearest to the ticks of `fps`, each at most once."""
    import numpy as np

    wanted = np.arange(times[0], times[-1] + 1e-9, 1.0 / fps)
    return np.unique(np.abs(times[None, :] - wanted[:, None]).argmin(axis=1))


def through_codec(bounds: Any, expressions: Any, rotations: Any, times: Any,
                  fps: float) -> tuple[list[Any], CodecShare]:  # fmt: skip
    """Every frame coded and decoded with eg0 as in a call, and where the bits went."""
    import numpy as np

    from quic_transport.codec import FaceDecoder, FaceEncoder, Quantizer
    from quic_transport.codec.golomb import code_length, fold
    from quic_transport.params import EXPRESSION_DIM, FaceParams

    encoder, decoder = FaceEncoder(bounds, gop=round(5 * fps)), FaceDecoder(bounds)
    quantizer = Quantizer(bounds)
    before: Any = None
    decoded, size, bits, turning, zeros, residuals = [], 0, 0, 0, 0, 0
    for e, r, t in zip(expressions, rotations, times, strict=True):
        params = FaceParams(e, r, float(t))
        frame = encoder.encode(params)
        size += len(frame.payload)
        bits += encoder.coded_bits
        codes: Any = np.array(quantizer.quantise(params.vector()), dtype=np.int64)
        if before is not None and not frame.key:
            steps = codes - before
            turning += sum(code_length(fold(int(d))) for d in steps[EXPRESSION_DIM:])
            zeros += int((steps == 0).sum())
            residuals += len(steps)
        before = codes
        decoded.append(decoder.decode(frame))
    n = len(decoded)
    share = CodecShare(size * 8 * fps / n / 1000, bits / n, turning * 49 / max(residuals, 1),
                       zeros / max(residuals, 1))  # fmt: skip
    return decoded, share


def _line(name: str, kbps: float, q: Likeness) -> list[str]:
    return [name, f"{kbps:.2f}", f"{q.psnr_whole:.2f}", f"{q.psnr_head:.2f}",
            f"{q.psnr_rimless:.2f}", f"{q.ssim_whole:.4f}", f"{q.ssim_head:.4f}"]  # fmt: skip


def explain(share: CodecShare, wire: float, same_psnr: float | None, same_ssim: float | None,
            rates: Sequence[float], fps: float) -> None:  # fmt: skip
    """The table in words."""
    announce(
        f"\neg0: {share.kbps:.2f} kbps of payload at {fps:g} fps (the paper: {PAPER['kbps']}), "
        f"{share.bits:.0f} bits a frame, {share.rotation_bits:.0f} of them for the three angles; "
        f"{100 * share.zeros:.0f} % of the residuals are zero and cost one bit each.\n"
        "A general tracker's coefficients are noisy, and the bounds of a short clip are narrow, "
        "so the same noise spans more of the 256 codes: both raise the rate.\n"
        f"On the wire about {wire:.1f} kbps (one packet a frame, {PACKET_BYTES} bytes of IP, UDP "
        "and QUIC and 2 of our framing each), acknowledgements not counted."
    )
    for what, rate in (("PSNR", same_psnr), ("SSIM", same_ssim)):
        if rate is None:
            announce(f"x265 does not cross our {what} between {min(rates):.1f} and "
                     f"{max(rates):.1f} kbps.")  # fmt: skip
        else:
            announce(f"x265 needs {rate:.1f} kbps for the same {what}.")


def as_rows(share: CodecShare, wire: float, raw: Likeness, ours: Likeness,
            curve: Sequence[tuple[float, Likeness]], same_psnr: float | None,
            same_ssim: float | None) -> list[Row]:  # fmt: skip
    """Everything as rows with stable names."""
    rows = [
        Row("rd.eg0.payload", share.kbps, "kbps"), Row("rd.eg0.wire_estimate", wire, "kbps"),
        Row("rd.eg0.bits_per_frame", share.bits, "bit"),
        Row("rd.eg0.rotation_bits", share.rotation_bits, "bit"),
        Row("rd.eg0.zero_residuals", share.zeros, ""),
    ]  # fmt: skip

    def add(prefix: str, quality: Likeness) -> None:
        for name, value in zip(NAMES, astuple(quality), strict=True):
            rows.append(Row(f"{prefix}.{name}", value, "dB" if "psnr" in name else ""))

    add("rd.unquantised", raw)
    add("rd.eg0", ours)
    for target, (kbps, quality) in zip(RATES_KBPS, curve, strict=True):
        rows.append(Row(f"rd.x265_{target:g}.rate", kbps, "kbps"))
        add(f"rd.x265_{target:g}", quality)
    for name, rate in (("psnr", same_psnr), ("ssim", same_ssim)):
        if rate is not None:
            rows.append(Row(f"rd.x265_for_our_{name}", rate, "kbps"))
    return rows


def plot(path: Path, kbps: float, ours: Likeness, curve: Sequence[tuple[float, Likeness]]) -> None:
    """PSNR and SSIM against the rate, ours as a star, as the paper's figure 4."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    rates = [k for k, _ in curve]
    for axis, name, label in zip(axes, ("psnr_whole", "ssim_whole"), ("PSNR, dB", "SSIM"),
                                 strict=True):  # fmt: skip
        axis.plot(rates, [getattr(q, name) for _, q in curve], "o-", color="tab:green",
                  label="x265, bframes=0")  # fmt: skip
        axis.plot([kbps], [getattr(ours, name)], "r*", markersize=14, label="facewire, eg0")
        axis.set_xlabel("kbps (payload)")
        axis.set_ylabel(label)
        axis.set_xscale("log")
        axis.grid(alpha=0.3, which="both")
        axis.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)
