"""A Ray cluster of this machine, for tests."""

from contextlib import contextmanager


@contextmanager
def open_cluster(**head):
    """A real cluster whose first node is made so; it ends with the block, and not with pytest.

    What Ray leaves running takes processor time from all tests that follow.
    """
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"include_dashboard": False, **head},
        shutdown_at_exit=False,
    )
    try:
        yield cluster
    finally:
        cluster.shutdown()
