"""Whole models of tasks beside classification: an SMT as the backbone of a detector or segmenter.

`task_network.build_task` makes one by the name of its head in `smt_nas.costs.heads.HEADS`; its
widths and classes are the config that the cost formulas read. Detectors are made of torchvision's
parts, which come through `runtime.torchvision_ops`, so nothing of them is imported here.
"""
