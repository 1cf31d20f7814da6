"""The made study as fixtures."""

from __future__ import annotations

import pytest

from tests.dashboards.studies import Rows, Study, make_rows


@pytest.fixture
def rows() -> Rows:
    """The study of `make_rows`, free to be edited."""
    return make_rows()


@pytest.fixture
def study() -> Study:
    """`make_rows` itself, for studies of another shape."""
    return make_rows
