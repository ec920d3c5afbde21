from typing import Any

import pytest

from edge.run_folder import RunFolder
from tests.conftest import running
from tests.edge.distilling import distil
from tests.edge.small import small_config
from tests.fakes import LinearTeacher


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, dict[str, Any]]:
    """The folder of a whole run, in which nobody writes, and its results."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with running(LinearTeacher(), folder / "ledger.sqlite") as server:
        results = distil(server, server.make_key(budget=100), folder / "run", small_config())
    return RunFolder(folder / "run"), results
