import numpy as np
import pytest
import torch

from polyvec.core.errors import FormatError, InvalidTypeError, InvalidValueError
from polyvec.train import GuideCache


class Guide:
    """Vectors that a text decides; counts what it is asked for."""

    def __init__(self, name: str = "a", width: int = 3):
        self.asked: list[list[str]] = []
        self.width = width
        self.fingerprint = {"sha256": name, "dim": width, "name": "a folder that does not matter"}

    def encode(self, texts):
        self.asked.append(list(texts))
        seeds = [sum(text.encode("utf-8", "surrogatepass")) for text in texts]
        return np.array([np.random.default_rng(seed).normal(size=self.width) for seed in seeds], dtype=np.float32)


TEXTS = ["one", "two", "", "two", "drei äöü", "\ud800"]


def test_each_text_is_encoded_once_whatever_the_order():
    guide = Guide()
    cache = GuideCache(guide)
    expected = torch.from_numpy(Guide().encode(TEXTS))
    assert torch.equal(cache.vectors(TEXTS), expected)
    assert torch.equal(cache.vectors(TEXTS[::-1]), expected.flip(0))
    assert cache.fill([*TEXTS, "new"]) == 1
    assert guide.asked == [["one", "two", "", "drei äöü", "\ud800"], ["new"]]
    assert len(cache) == cache.encoded == 6
    assert not cache.vectors(["one"]).requires_grad


def test_vectors_are_found_again_on_disk(tmp_path):
    first = GuideCache(Guide(), tmp_path)
    kept = first.vectors(TEXTS)
    first.vectors(["later"])
    again = Guide()
    second = GuideCache(again, tmp_path)
    assert torch.equal(second.vectors(TEXTS), kept)
    assert second.fill(["later"]) == 0
    assert again.asked == []


def test_another_guide_has_its_own_vectors(tmp_path):
    GuideCache(Guide("a"), tmp_path).fill(TEXTS)
    other = Guide("b", width=5)
    assert GuideCache(other, tmp_path).vectors(TEXTS).shape == (6, 5)
    assert len(other.asked) == 1
    renamed = Guide("a")
    renamed.fingerprint["name"] = "moved elsewhere"
    assert len(GuideCache(renamed, tmp_path)) == 5


def test_two_that_write_at_once_share_everything(tmp_path):
    one, two = GuideCache(Guide(), tmp_path), GuideCache(Guide(), tmp_path)
    one.fill(["a", "b"])
    two.fill(["b", "c"])
    third = Guide()
    cache = GuideCache(third, tmp_path)
    assert torch.equal(cache.vectors(["c", "b", "a"]), torch.from_numpy(Guide().encode(["c", "b", "a"])))
    assert third.asked == []


def test_many_small_files_are_joined(tmp_path):
    cache = GuideCache(Guide(), tmp_path)
    texts = [f"text {number}" for number in range(40)]
    for text in texts:
        cache.fill([text])
    assert len(list(tmp_path.iterdir())) == 40
    opened = GuideCache(Guide(), tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    third = GuideCache(Guide(), tmp_path)
    for known in (opened, third):
        assert torch.equal(known.vectors(texts), cache.vectors(texts))
        assert known.encoded == 0


def test_a_text_encoder_is_a_guide(tmp_path):
    from polyvec.encode import TextEncoder

    encoder = TextEncoder(threads=1)
    texts = ["a library that reads images", "play music"]
    cache = GuideCache(encoder, tmp_path)
    assert np.allclose(cache.vectors(texts).numpy(), encoder.encode(texts), atol=1e-6)
    assert len(GuideCache(encoder, tmp_path)) == 2
    assert len(GuideCache(TextEncoder(threads=1, max_length=16), tmp_path)) == 0


class Unnamed:
    def encode(self, texts):
        return np.ones((len(texts), 2), dtype=np.float32)


def test_a_name_serves_where_there_is_no_fingerprint(tmp_path):
    with pytest.raises(InvalidValueError, match="Unnamed has no fingerprint"):
        GuideCache(Unnamed(), tmp_path)
    GuideCache(Unnamed(), tmp_path, name="first").fill(["a"])
    assert len(GuideCache(Unnamed(), tmp_path, name="first")) == 1
    assert len(GuideCache(Unnamed(), tmp_path, name="second")) == 0
    assert len(GuideCache(Unnamed())) == 0


@pytest.mark.usefixtures("own_messages")
def test_bad_input(tmp_path):
    with pytest.raises(InvalidTypeError, match="needs an object with encode"):
        GuideCache(lambda texts: texts)
    cache = GuideCache(Guide())
    for texts in ("one text", [3], [None]):
        with pytest.raises(InvalidTypeError, match="texts:"):
            cache.vectors(texts)
    with pytest.raises(InvalidValueError, match="texts: got none"):
        cache.vectors([])

    class Broken(Guide):
        def encode(self, texts):
            return np.full((len(texts) + (texts[0] == "more"), 3), np.nan if texts[0] == "nan" else 1.0)

    broken = GuideCache(Broken(), tmp_path)
    with pytest.raises(InvalidValueError, match="row 0 holds NaN"):
        broken.vectors(["nan"])
    with pytest.raises(InvalidValueError, match="got 2 for 1 texts"):
        broken.vectors(["more"])
    assert list(tmp_path.iterdir()) == []
    GuideCache(Guide(), tmp_path).fill(["a"])
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"no parquet")
    with pytest.raises(FormatError):
        GuideCache(Guide(), tmp_path)
