"""Shared set-up: shapes in signatures are checked at run time, nothing touches the user's cache or a model hub."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest
from jaxtyping import config, install_import_hook

# Only modules whose signatures carry array shapes; compiled (numba) modules cannot be wrapped.
CHECKED = ["polyvec.train", "polyvec.compress", "polyvec.assess", "polyvec.search.funnel"]
CHECKED += ["polyvec.combine.merging.combiners"]
_hook = install_import_hook(CHECKED, "beartype.beartype")


@pytest.fixture
def own_messages():
    """Let bad arguments reach the library's own checks instead of the run-time check of signatures."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
