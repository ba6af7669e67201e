"""Options and fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run; others with --hypothesis-profile default
settings.register_profile("same", derandomize=True)
settings.load_profile("same")
GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden",
        type=Path,
        default=GOLDEN,
        metavar="DIR",
        help="folder of reference numbers laid out like tests/golden (default: that one)",
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Path:
    """The folder of reference numbers."""
    return golden_folder(request.config)


def golden_folder(config: pytest.Config) -> Path:
    """The same for `pytest_generate_tests`, which has no fixtures."""
    path = Path(config.getoption("--golden"))
    return path if path.is_absolute() else config.invocation_params.dir / path
