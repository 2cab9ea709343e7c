"""The two small networks on the CPU: torch's matrix products, our own backward pass.

The rule: plain tensors, no autograd graph, nothing but products and element-wise steps, so that a
chunk costs microseconds of overhead. Twin with autograd: nerf.reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nerf.field import DENSITY_LIMIT, DENSITY_SHIFT


@dataclass(slots=True)
class Activations:
    """What the backward pass needs of a forward pass over S samples."""

    density_inputs: list[Tensor]
    """Input of each density layer, [S, in]."""
    color_inputs: list[Tensor]
    """Input of each colour layer, [S, in]."""
    sigma: Tensor
    """[S], density per cube edge."""
    rgb: Tensor
    """[S, 3] in [0, 1]."""


def split(networks: list[Tensor], density_layers: int) -> tuple[list[Tensor], list[Tensor]]:
    """The density network's and the colour network's matrices."""
    return networks[: density_layers + 1], networks[density_layers + 1 :]


def forward(features: Tensor, density: list[Tensor], color: list[Tensor]) -> Activations:
    """Density [S] and colour [S, 3] of encoded samples [S, L·4]."""
    x = features
    density_inputs = [x]
    for weight in density[:-1]:
        x = torch.mm(x, weight).relu_()
        density_inputs.append(x)
    h = torch.mm(x, density[-1])
    sigma = (h[:, 0] - DENSITY_SHIFT).clamp_(max=DENSITY_LIMIT).exp_()
    x = h
    color_inputs = [x]
    for weight in color[:-1]:
        x = torch.mm(x, weight).relu_()
        color_inputs.append(x)
    rgb = torch.mm(x, color[-1]).sigmoid_()
    return Activations(density_inputs, color_inputs, sigma, rgb)


def density_only(features: Tensor, density: list[Tensor]) -> Tensor:
    """Density [S] of encoded samples [S, L·4]."""
    x = features
    for weight in density[:-1]:
        x = torch.mm(x, weight).relu_()
    return (torch.mm(x, density[-1][:, :1])[:, 0] - DENSITY_SHIFT).clamp_(max=DENSITY_LIMIT).exp_()


def backward(acts: Activations, density: list[Tensor], color: list[Tensor], grad_sigma: Tensor,
             grad_rgb: Tensor) -> tuple[Tensor, list[Tensor]]:  # fmt: skip
    """Gradients with respect to the features [S, L·4] and to each weight matrix.

    `grad_sigma` [S] and `grad_rgb` [S, 3] are the loss's; `grad_rgb` is used up.
    """
    grads: list[Tensor] = []
    g = grad_rgb.mul_(acts.rgb).mul_(1.0 - acts.rgb)
    for i in range(len(color) - 1, -1, -1):
        grads.append(torch.mm(acts.color_inputs[i].t(), g))
        g = torch.mm(g, color[i].t())
        if i > 0:
            g.masked_fill_(acts.color_inputs[i] <= 0.0, 0.0)
    g[:, 0] += grad_sigma * acts.sigma
    for i in range(len(density) - 1, -1, -1):
        grads.append(torch.mm(acts.density_inputs[i].t(), g))
        g = torch.mm(g, density[i].t())
        if i > 0:
            g.masked_fill_(acts.density_inputs[i] <= 0.0, 0.0)
    return g, grads[::-1]
