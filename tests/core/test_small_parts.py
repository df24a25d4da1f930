import subprocess
import sys

import numpy as np
import pytest
import torch

from polyvec.core import errors
from polyvec.core.arrays import as_matrix, first_bad_row, match_kind
from polyvec.core.errors import InvalidTypeError, InvalidValueError, MissingDependencyError, NotFoundError
from polyvec.core.lazy import require
from polyvec.core.progress import progress, track
from polyvec.core.protocols import Encoder, Transform
from polyvec.core.randomness import numpy_generator, spawn_seeds, torch_generator
from polyvec.core.registry import component, components, system, systems
from polyvec.core.vectors import Vectors


def test_every_error_is_a_polyvec_error():
    kinds = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(kinds) > 8
    assert all(issubclass(kind, errors.PolyvecError) for kind in kinds)
    assert issubclass(InvalidValueError, ValueError)
    assert issubclass(InvalidTypeError, TypeError)
    assert str(NotFoundError("no x")) == "no x"


def test_importing_polyvec_loads_nothing_heavy():
    code = (
        "import sys, polyvec; heavy = {'torch', 'numpy', 'lancedb', 'pyarrow', 'sklearn', 'scipy', 'openvino'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_top_level_names_resolve():
    import polyvec

    assert polyvec.Vectors is Vectors
    assert set(polyvec.__all__) <= set(dir(polyvec))
    for name in polyvec.__all__:
        assert getattr(polyvec, name) is not None
    with pytest.raises(AttributeError, match="nothing_like_it"):
        polyvec.nothing_like_it  # noqa: B018


def test_seeds():
    assert numpy_generator(5).integers(1 << 60) == numpy_generator(5).integers(1 << 60)
    assert torch.rand(3, generator=torch_generator(1)).equal(torch.rand(3, generator=torch_generator(1)))
    assert spawn_seeds(7, 5)[:3] == spawn_seeds(7, 3)
    assert len(set(spawn_seeds(7, 1000))) == 1000
    for bad in (-1, True, "1", 1.5):
        with pytest.raises((InvalidValueError, InvalidTypeError), match="seed"):
            numpy_generator(bad)


def test_global_randomness_is_untouched():
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    numpy_generator(1).normal(size=10)
    spawn_seeds(None, 3)
    assert np.array_equal(before, np.random.get_state()[1])


def test_as_matrix_and_back():
    tensor = torch.arange(6.0).reshape(2, 3)
    assert isinstance(match_kind(as_matrix(tensor), tensor), torch.Tensor)
    vectors = Vectors(tensor, ids=["a", "b"])
    doubled = match_kind(as_matrix(vectors) * 2, vectors)
    assert isinstance(doubled, Vectors)
    assert doubled.ids.tolist() == ["a", "b"]
    assert as_matrix([[1, 2]], dtype=None).dtype == np.float64
    assert as_matrix(np.ones((2, 2), np.float16), dtype=None).dtype == np.float16
    with pytest.raises(InvalidValueError, match="does not fit in float32"):
        as_matrix(np.array([[1e300]]))
    with pytest.raises(InvalidValueError, match="row 1 holds NaN"):
        as_matrix([[1.0], [np.inf]])
    with pytest.raises(InvalidValueError, match="needs 3"):
        as_matrix([[1.0]], dim=3)
    with pytest.raises(InvalidTypeError, match="sparse"):
        as_matrix(torch.eye(2).to_sparse())


def test_first_bad_row_works_across_blocks():
    matrix = np.zeros((5000, 1024), np.float32)
    assert first_bad_row(matrix) is None
    matrix[4500, 7] = np.nan
    assert first_bad_row(matrix) == 4500


def test_missing_extra_names_the_command():
    with pytest.raises(MissingDependencyError, match=r"pip install 'polyvec\[graph\]'"):
        require("no_such_package_at_all", "graph", "FastRP")


def test_progress_counts_and_passes_items_through(capsys):
    assert list(track(range(5), "work", show=False)) == list(range(5))
    with progress("work", 3, show=True) as bar:
        bar.advance(3)
    assert "3/3" in capsys.readouterr().err


def test_protocols_fit_other_peoples_classes():
    from sentence_transformers import SentenceTransformer
    from sklearn.decomposition import PCA

    assert isinstance(PCA(), Transform)
    assert issubclass(SentenceTransformer, Encoder)


def test_registry():
    assert len(systems()) == 65
    assert system(" MRL ").slug == "mrl"
    with pytest.raises(NotFoundError, match="did you mean"):
        system("fastrpp")
    for entry in components():
        assert component(entry.kind, entry.name) == entry
        assert entry.load() is not None
        assert entry.summary
    with pytest.raises(NotFoundError, match="known"):
        component("transform", "nothing")


def test_working_systems_offer_what_the_registry_says():
    import importlib

    for entry in systems():
        for name in entry.api if entry.status == "working" else ():
            module, _, attribute = name.rpartition(".")
            assert getattr(importlib.import_module(module), attribute) is not None
