"""Fixtures every test may use: the real radiographs beside the checkout, where there are any."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real radiographs beside the checkout."""
    if not (SHARED / "nih-cxr" / "dicom").is_dir():
        pytest.skip("no real radiographs beside the checkout")
    return SHARED
