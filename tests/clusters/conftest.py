"""The tiny study of the search's tests."""

from tests.search.conftest import _model_folder, study, tiny_model

__all__ = ["_model_folder", "study", "tiny_model"]
