"""Pictures of many heads, or of one from many sides, asked for at once.

The rule: one call, whatever draws. Triton takes all views of one shape of head in a launch; every
other backend takes them one by one. If Triton fails, the others go on without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from nerf.backends import Choice, SteadyRenderer, candidates, step_down
from nerf.cpu.pool import WorkerPool
from nerf.cpu.render import Rendered
from nerf.field import HeadField
from nerf.gpu.views import View

if TYPE_CHECKING:
    from nerf.gpu.renderer import BatchRenderer

__all__ = ["HeadBatch", "View"]

T = TypeVar("T")


class HeadBatch:
    """Draws views of `fields`. Not to be called from two threads at once."""

    def __init__(self, fields: Sequence[HeadField], pool: WorkerPool, device: str = "auto",
                 backend: str = "auto") -> None:  # fmt: skip
        """`device` and `backend` are wishes (`nerf.backends`)."""
        self.fields, self._pool = list(fields), pool
        self._choices = candidates(device, backend)
        self._single: dict[int, SteadyRenderer] = {}
        self._groups: list[tuple[list[int], BatchRenderer]] = []
        if self.choice.backend == "triton":
            self._guarded(self._open_groups)

    @property
    def choice(self) -> Choice:
        """What draws at present."""
        return self._choices[0]

    def render_batch(self, views: Sequence[View]) -> list[Rendered]:
        """A picture of each view, in order; `View.avatar` counts in `fields`."""
        for view in views:
            if not 0 <= view.avatar < len(self.fields):
                raise ValueError(f"there is no head {view.avatar}: {len(self.fields)} are open")
        if self._groups:
            drawn = self._guarded(lambda: self._together(views))
            if drawn is not None:
                return drawn
        return [self._alone(view) for view in views]

    def _open_groups(self) -> None:
        """A renderer for each shape of head."""
        from nerf.gpu.renderer import BatchRenderer

        shapes: dict[object, list[int]] = {}
        for i, field in enumerate(self.fields):
            shapes.setdefault((field.config, field.occupancy.shape), []).append(i)
        self._groups = [(members, BatchRenderer([self.fields[i] for i in members],
                                                self.choice.device))
                        for members in shapes.values()]  # fmt: skip

    def _together(self, views: Sequence[View]) -> list[Rendered]:
        out: dict[int, Rendered] = {}
        for members, renderer in self._groups:
            which = [i for i, view in enumerate(views) if view.avatar in members]
            own = [self._among(views[i], members.index(views[i].avatar)) for i in which]
            if own:
                out |= dict(zip(which, renderer.render_batch(own), strict=True))
        return [out[i] for i in range(len(views))]

    def _alone(self, view: View) -> Rendered:
        if view.avatar not in self._single:
            self._single[view.avatar] = SteadyRenderer(
                self.fields[view.avatar], self._pool, self.choice.device, self.choice.backend
            )
        renderer = self._single[view.avatar]
        renderer.set_expression(self.fields[view.avatar].code.seen(view.expression, view.pose))
        return renderer.render(view.pose, view.camera, view.background, view.rigid)

    def _guarded(self, work: Callable[[], T]) -> T | None:
        """What `work` returns; None once Triton has failed and the next best takes over."""
        try:
            return work()
        except Exception as error:
            step_down(self._choices[0], self._choices[1], error)
            self._choices, self._groups = self._choices[1:], []
            return None

    def _among(self, view: View, member: int) -> View:
        face = self.fields[view.avatar].code.seen(view.expression, view.pose)
        return View(face, view.pose, view.camera, view.background, view.rigid, member)
