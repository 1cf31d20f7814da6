"""The tiny study and the tiny model of other packages' tests."""

from tests.dashboards.conftest import rows
from tests.methods.test_saved import model
from tests.search.conftest import _model_folder, study, tiny_model

__all__ = ["_model_folder", "model", "rows", "study", "tiny_model"]
