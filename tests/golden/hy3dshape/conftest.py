"""Cases of the golden folder as parameters of the tests that say `@cases(...)`."""

from __future__ import annotations

import pytest
from conftest import golden_folder
from golden.hy3dshape.cases import Case, load_case, stems


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    wanted = getattr(metafunc.function, "cases", None)
    if wanted is not None:
        folder = golden_folder(metafunc.config) / "hy3dshape"
        found = [(folder, name) for name in stems(folder, *wanted)]
        metafunc.parametrize("case", found, indirect=True, ids=[name for _, name in found])


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Case:
    """The case of this round."""
    return load_case(*request.param)
