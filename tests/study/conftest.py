import pytest


@pytest.fixture(scope="module")
def few(digits):
    return digits.images[::10]
