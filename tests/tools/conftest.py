import importlib
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture(scope="session")
def load_tool():
    """Imports the tool of a name, which may import others beside it, as when it is run."""
    sys.path.append(str(TOOLS))
    yield importlib.import_module
    sys.path.remove(str(TOOLS))
