"""The weights that all networks of a space share, and which of them one network takes."""

from smt_nas.models.supernet.supernet_spec import StageMaxima, SupernetSpec
from smt_nas.models.supernet.views import list_windows, scatter, views
from smt_nas.models.supernet.weight_store import WeightStore

__all__ = ["StageMaxima", "SupernetSpec", "WeightStore", "list_windows", "scatter", "views"]
