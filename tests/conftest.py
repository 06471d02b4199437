"""Fixtures every test may use: the real radiographs beside the checkout, where there are any."""

from pathlib import Path

import pytest
from hypothesis import settings

# a busy machine is slow, which is no property of the code
settings.register_profile("cxr", deadline=None)
settings.load_profile("cxr")
SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real radiographs beside the checkout."""
    if not (SHARED / "nih-cxr" / "dicom").is_dir():
        pytest.skip("no real radiographs beside the checkout")
    return SHARED
