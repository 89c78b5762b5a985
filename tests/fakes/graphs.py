"""A CUDA graph on the CPU: what was captured is computed again at each replay."""

WARM_UPS = 3


class RerunGraph:
    """Computes a function again, into the tensor that its capture gave."""

    def __init__(self, compute, figures):
        self.compute, self.figures = compute, figures

    def replay(self):
        self.figures.copy_(self.compute())


def capture_rerun(compute, device):
    """Run a few times, as a capture does; the last results stand for the graph's own."""
    for _ in range(WARM_UPS):
        figures = compute().clone()
    return RerunGraph(compute, figures), figures


def capture_on_cpu(monkeypatch, capture=capture_rerun):
    """Let trainings on the CPU that want to be fast make their updates by such graphs."""
    monkeypatch.setattr("smt_nas.train.learner.wants_graph", lambda options, group: options.fast)
    monkeypatch.setattr("smt_nas.train.steps.fast_form.capture_cuda_graph", capture)
