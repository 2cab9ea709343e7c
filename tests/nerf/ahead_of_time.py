"""Compile every kernel that the GPU host code launches, for a GPU that is not there.

The rule: the host code runs as it is, on CPU tensors that nobody fills; each launch is caught and
its kernel compiled to machine code by the compiler that a GPU would use. Run as a program (never in
a process with Triton's interpreter): prints one line per kernel, fails at the first that does not.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from nerf.camera import head_pose, portrait_camera
from nerf.config import PAPER_FIELD, FieldConfig
from nerf.expression import fit_expression_code
from nerf.field import Cube, new_field
from nerf.gpu.engine import TritonEngine
from nerf.gpu.renderer import BatchRenderer
from nerf.gpu.resident import ResidentTraining
from nerf.gpu.views import View
from nerf.step import LossWeights, Rates, RayBatch

OPTIONS = ("num_warps", "num_stages", "maxnreg")
TYPES = {
    torch.float32: "*fp32",
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.int32: "*i32",
    torch.uint8: "*u8",
}
done: set[str] = set()


def catch(capability: int) -> Any:
    """What stands in for a launch."""

    def run(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        options = {k: kwargs.pop(k) for k in OPTIONS if k in kwargs}
        bound = self.signature.bind(*args, **kwargs).arguments
        types: dict[str, str] = {}
        constants: dict[str, Any] = {}
        aligned = {}
        for i, parameter in enumerate(self.params):
            value = bound[parameter.name]
            if parameter.is_constexpr or (isinstance(value, int) and value == 1):
                types[parameter.name], constants[parameter.name] = "constexpr", value
            elif isinstance(value, torch.Tensor):
                types[parameter.name] = TYPES[value.dtype]
                aligned[(i,)] = [["tt.divisibility", 16]]
            else:
                types[parameter.name] = "fp32" if isinstance(value, float) else "i32"
        key = f"{self.fn.__name__} {types} {constants} {options}"
        if key in done:
            return
        done.add(key)
        source = ASTSource(self, types, constants, aligned)
        made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
        print(f"{self.fn.__name__}: {len(made.asm['cubin'])} bytes, {made.metadata.shared} shared")

    return run


def launch_everything(config: FieldConfig, precision: torch.dtype) -> None:
    """Draw a picture and take two steps, on memory that holds nothing."""
    rng = np.random.default_rng(0)
    code = fit_expression_code(rng.random((60, 46)), config.rank)
    field = new_field(config, code, Cube((0.0, 0.0, 0.0), 0.25), rng)
    view = View(np.zeros(46), head_pose((0.0, 0.0, 0.0), 0.5), portrait_camera(16, 0.5, 2.6))
    BatchRenderer([field], "cpu", precision=precision).render_batch([view, view])
    engine = TritonEngine(field, "cpu", precision=precision, capacity=1024, max_rays=64)
    rays = np.tile(np.array([0.0, 0.0, -1.0], np.float32), (5, 1))
    batch = RayBatch(np.zeros(config.rank, np.float32), np.array([0.5, 0.5, 2.0], np.float32),
                     rays, rays, rays[:, 0], rays)  # fmt: skip
    for rigid in (True, False):
        engine.step(batch, Rates(table=0.0, expression=0.0, network=0.0), LossWeights(), 0.5,
                    rigid=rigid)  # fmt: skip
    engine.density_at(rays)
    pictures = np.zeros((2, 16, 16, 3), np.uint8)
    box, views = [(0, 0, 16, 16)] * 2, [(view.pose, view.camera)] * 2
    rates = Rates(table=0.0, expression=0.0, network=0.0)
    for parts, refine in ((None, True), ([[(0, 0, 8, 8)] * 3] * 2, False)):
        footage = ResidentTraining(engine, pictures, pictures[..., 0], box, views, parts)
        footage.run([1], [0], [rates], LossWeights(), [0.5], [0.0], 5, 1.0, refine=refine)


if __name__ == "__main__":
    JITFunction.run = catch(int(sys.argv[1]))
    for what in sys.argv[2:]:  # fast, paper, fast-bfloat16, ...
        name, _, precision = what.partition("-")
        config = {"fast": FieldConfig(), "paper": PAPER_FIELD}[name]
        launch_everything(config, getattr(torch, precision or "float16"))
