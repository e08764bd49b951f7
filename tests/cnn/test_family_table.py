"""The appendix's table of families is what conversions give today."""

import family_table
import pytest


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_the_table_of_families_is_what_conversions_give():
    assert family_table.page() == family_table.PAGE.read_text()
