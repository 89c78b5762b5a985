"""What detectors and segmenters over an SMT cost, by formula: HEADS, `count_task`."""

from smt_nas.costs.heads.head_config import (
    HeadConfig,
    MaskRCNNConfig,
    RetinaNetConfig,
    UPerNetConfig,
)
from smt_nas.costs.heads.head_table import HEADS, TASKS, HeadEntry, Task, find_head
from smt_nas.costs.heads.task_costs import TaskCosts, count_task

__all__ = [
    "HEADS",
    "TASKS",
    "HeadConfig",
    "HeadEntry",
    "MaskRCNNConfig",
    "RetinaNetConfig",
    "Task",
    "TaskCosts",
    "UPerNetConfig",
    "count_task",
    "find_head",
]
