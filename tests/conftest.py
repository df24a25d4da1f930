"""Shared set-up: shapes in signatures are checked at run time, nothing touches the user's cache or a model hub."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from jaxtyping import install_import_hook

# Only modules whose signatures carry array shapes; compiled (numba) modules cannot be wrapped.
CHECKED = ["polyvec.train", "polyvec.compress", "polyvec.assess", "polyvec.search.funnel"]
_hook = install_import_hook(CHECKED, "beartype.beartype")
