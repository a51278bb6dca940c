"""A metric that is logged while a model trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simlearn.evaluation.quaterion.modules.base_metric import BaseMetric

STAGES = ("train", "validation")


class AttachedMetric:
    """A metric, its name, and how it is logged: as `<name>_train` and `<name>_validation`.

    In validation it is computed once an epoch, over the whole validation data of all processes. In training embeddings
    change with every step, so each batch is measured by itself, and the mean over the batches is logged.

    Args:
        name: what it is logged as.
        metric: a `BaseMetric`; what else is asked of this object is asked of it.
        logger: whether it goes to the logger.
        prog_bar: whether it goes to the progress bar.
        on_step: whether each training batch is logged as well; None for not.
        on_epoch: whether the epoch's value is logged; None for yes.
        stages: of `"train"` and `"validation"`.
        **log_options: further options of Lightning's `log`.

    Raises:
        TypeError: for what is no metric.
        ValueError: for an unknown stage.
    """

    def __init__(
        self,
        name: str,
        metric: BaseMetric,
        logger: bool = True,
        prog_bar: bool = False,
        on_step: bool | None = None,
        on_epoch: bool | None = None,
        stages: Sequence[str] = STAGES,
        **log_options: Any,
    ) -> None:
        from simlearn.evaluation.quaterion.modules.base_metric import BaseMetric  # loads torchmetrics

        if not isinstance(metric, BaseMetric):
            raise TypeError(f"an AttachedMetric takes a BaseMetric, such as RetrievalPrecision(), got {metric!r:.80}")
        if unknown := [str(stage) for stage in stages if str(stage) not in STAGES]:
            raise ValueError(f"unknown stage {unknown[0]!r}; known are {', '.join(STAGES)}")
        self.name = name
        self.metric = metric
        self.on_step = bool(on_step)
        self.on_epoch = on_epoch is None or on_epoch
        self.stages = tuple(str(stage) for stage in stages)
        # Said only where it is off: Lightning warns who asks for a logger and has none.
        self.log_options: dict[str, Any] = {
            "prog_bar": prog_bar,
            **({} if logger else {"logger": False}),
            **log_options,
        }

    def __getattr__(self, name: str) -> Any:
        if name == "metric":  # not there yet, as while it is copied
            raise AttributeError(name)
        return getattr(self.metric, name)

    def __repr__(self) -> str:
        return f"AttachedMetric({self.name!r}, {type(self.metric).__name__})"
