"""What PE-Net is punished for.

The rule: expression counts twice, absolutely and relative to the same person's other frames in
the batch. Offsets between people cannot be learnt well from a hundred of them and an avatar
absorbs them; how a face changes is what a call needs.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from quic_transport.params import EXPRESSION_DIM

EYES_AND_LIPS = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173,
    263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398,
    468, 469, 470, 471, 472, 473, 474, 475, 476, 477,
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409,
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415,
)  # fmt: skip
"""Landmarks of lids, irises and lips: a tenth of a face's size, and most of what it says."""
TELLING = 5.0  # how much more they count
BEND = 0.15  # coefficients: quadratic up to here; L1 would call a rare blink an outlier
LANDMARKS = slice(0, 956)
EXPRESSION = slice(956, 956 + EXPRESSION_DIM)
ROTATION = slice(1002, 1008)
ORIGIN = slice(1008, 1010)
SCALE = 1010


@cache
def _shape_weight() -> Tensor:
    """[956], mean one."""
    weight = torch.ones(478, 2)
    weight[list(EYES_AND_LIPS)] = TELLING
    return (weight / weight.mean()).flatten()


def pe_loss(outputs: tuple[Tensor, ...], label: Tensor, face: Tensor, drawn: Tensor, group: int,
            weight: Tensor, performer: Tensor) -> tuple[Tensor, dict[str, float]]:  # fmt: skip
    """The loss and its parts.

    `label` [B, 1011]; `face` [B] 1 where the crop shows a face; `drawn` [B] 1 for performers;
    rows come in groups of `group` of one person; `weight` [46] per coefficient; `performer`
    [2, 46]: log gain and offset by which a performer's coefficients differ from the teacher's.
    """
    landmarks, expression, rotation, origin, scale, presence, _ = outputs
    mask = face[:, None]
    count = face.sum().clamp(min=1)
    shape = (112 * (landmarks.flatten(1).float() - label[:, LANDMARKS])).abs() * _shape_weight()
    shape_loss = (shape.mean(dim=1) * face).sum() / count

    wanted = label[:, EXPRESSION]
    said = expression.float()
    said = torch.where(drawn[:, None] > 0, said * performer[0].exp() + performer[1], said)
    error = (said - wanted) * mask
    absolute = F.smooth_l1_loss(error, torch.zeros_like(error), beta=BEND, reduction="none")
    grouped = error.reshape(-1, group, EXPRESSION_DIM)
    inside = mask.reshape(-1, group, 1)
    centre = grouped.sum(dim=1, keepdim=True) / inside.sum(dim=1, keepdim=True).clamp(min=1)
    centred = ((grouped - centre) * inside).reshape(-1, EXPRESSION_DIM)
    relative = F.smooth_l1_loss(centred, torch.zeros_like(centred), beta=BEND, reduction="none")
    importance = mask * (1 - 0.5 * drawn[:, None])
    absolute_loss = (absolute * weight * importance).sum() / count
    relative_loss = (relative * weight * importance).sum() / count

    turn_loss = ((rotation.float() - label[:, ROTATION]).abs().sum(dim=1) * face).sum() / count
    origin_loss = (112 * (origin.float() - label[:, ORIGIN]).abs().sum(dim=1) * face).sum() / count
    scale_loss = ((scale.float() - label[:, SCALE]).abs() * face).sum() / count
    presence_loss = F.binary_cross_entropy_with_logits(presence.float(), face)
    total = (
        0.4 * shape_loss + 6.0 * absolute_loss + 16.0 * relative_loss + 3.0 * turn_loss
        + 0.2 * origin_loss + 4.0 * scale_loss + 0.5 * presence_loss
    )  # fmt: skip
    parts = {
        "landmarks_px": shape_loss, "expression": absolute_loss, "within": relative_loss,
        "rotation": turn_loss, "origin_px": origin_loss, "scale": scale_loss,
        "presence": presence_loss,
    }  # fmt: skip
    return total, {k: float(v.detach()) for k, v in parts.items()}
