"""A function of one's own that rates networks, as `--evaluator v0_1_rule:rate` names it."""


def rate(arch):
    """A formula that no cost is, with a detail; attention everywhere fails."""
    kernels = sum(s.depth * len(s.kernels) * s.mlp_ratio for s in arch.stages)
    if arch.stages[2].attention_ratio == 1.0:
        raise ValueError("attention alone is not wanted")
    return {"score": float(kernels), "depth": float(sum(s.depth for s in arch.stages))}
