import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from store_testing import HashEncoder, make_documents

from polyvec.core.errors import PolyvecError, StoreError
from polyvec.data.documents import Document
from polyvec.search.store import Store
from polyvec.search.store.lock import WriterLock

HOLDER = """
import sys, time
from pathlib import Path
from polyvec.search.store.lock import WriterLock
with WriterLock(Path(sys.argv[1])).hold():
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def holder(path, seconds):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def store(tmp_path):
    store = Store.create(tmp_path / "index", encoder=HashEncoder(), lock_timeout=0.2)
    store.add(make_documents(10))
    return store


def test_a_second_writer_is_told_who_writes(store):
    process = holder(Path(store.path) / ".polyvec.lock", 30)
    try:
        for change in (lambda: store.add([Document("x", "y")]), lambda: store.delete(["doc1"]), store.optimize):
            with pytest.raises(StoreError, match=f"process {process.pid} is writing to it .* within 0.2 s"):
                change()
        assert len(store.search("bax")) == 10  # readers are not kept waiting
    finally:
        process.kill()
        process.wait()
    store.add([Document("x", "y")])  # a killed holder holds nothing
    assert len(store) == 11


def test_a_second_writer_waits(store):
    process = holder(Path(store.path) / ".polyvec.lock", 0.5)
    patient = Store.open(store.path, encoder=HashEncoder(), lock_timeout=20)
    patient.add([Document("x", "y")])
    process.wait()
    assert len(store) == 11


def test_two_stores_of_one_process_exclude_each_other(store):
    other = Store.open(store.path, encoder=HashEncoder(), lock_timeout=0.1)
    with store.writer():
        store.add([Document("inner", "y")])  # the holder itself may write
        with pytest.raises(StoreError, match="is writing to it"):
            other.add([Document("x", "y")])
    other.add([Document("x", "y")])
    assert len(store) == 12


def test_the_lock_is_released_after_an_error(tmp_path):
    lock = WriterLock(tmp_path / "lock", timeout=0.1)
    with pytest.raises(RuntimeError), lock.hold():
        raise RuntimeError
    with WriterLock(tmp_path / "lock", timeout=0.1).hold(), pytest.raises(StoreError), lock.hold():
        pass
    with lock.hold(), lock.hold():
        pass


def test_threads_wait_for_each_other(tmp_path):
    store = Store.create(tmp_path / "index", encoder=HashEncoder(), lock_timeout=60)
    failures = []

    def add(number):
        try:
            store.add([Document(f"{number}-{part}", f"word{part}") for part in range(5)])
        except (PolyvecError, AssertionError, RuntimeError, OSError) as error:
            failures.append(error)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(store.ids()) == sorted(f"{number}-{part}" for number in range(8) for part in range(5))
    positions = store.snapshot().scan(["position"])["position"].to_pylist()
    assert sorted(positions) == list(range(40))


def test_readers_see_whole_commits_while_another_process_writes(store, tmp_path):
    script = """
import sys
sys.path.insert(0, sys.argv[2])
from store_testing import HashEncoder
from polyvec.data.documents import Document
from polyvec.search.store import Store
store = Store.open(sys.argv[1], encoder=HashEncoder())
for batch in range(12):
    store.add([Document(f"b{batch}-{number}", "bax dox", metadata={"batch": batch}) for number in range(10)])
    if batch == 6:
        store.optimize()
"""
    process = subprocess.Popen([sys.executable, "-c", script, store.path, str(Path(__file__).parent)])
    counts = []
    while process.poll() is None or len(store) < 130:
        hits = store.search("bax dox", k=1000)
        ids = store.ids()
        assert (len(ids) - 10) % 10 == 0, "half a commit was seen"
        assert len({hit.id for hit in hits}) == len(hits) <= len(ids)
        counts.append(len(ids))
        time.sleep(0.01)
        assert process.poll() in (None, 0)
    assert counts == sorted(counts)
    assert counts[-1] == 130
    assert len(set(counts)) > 3  # the reader did follow


def test_a_reader_in_the_middle_of_reading_is_not_disturbed(store):
    documents = store.documents()
    first = next(documents)
    store.upsert([Document(f"doc{number}", "changed") for number in range(10)])
    store.delete(["doc9"])
    store.optimize()
    rest = list(documents)
    assert [first, *rest] == make_documents(10)
    assert len(list(store.documents())) == 9


def test_many_threads_search_while_one_writes(store):
    stop = threading.Event()
    failures = []

    def search():
        while not stop.is_set():
            try:
                hits = store.search("bax dox", k=50, mode="hybrid")
                assert len({hit.id for hit in hits}) == len(hits) >= 10
            except (PolyvecError, AssertionError, RuntimeError, OSError) as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(15):
        store.upsert([Document(f"n{number}", "bax"), Document("doc1", f"bax {number}")])
        if number % 5 == 4:
            store.optimize()
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(store) == 25


READER = """
import sys, time
sys.path.insert(0, sys.argv[2])
from store_testing import HashEncoder
from polyvec.search.store import Store
store = Store.open(sys.argv[1], encoder=HashEncoder(), read_only=True)
documents = store.documents()
first = next(documents)
print("reading", flush=True)
sys.stdin.readline()
rest = list(documents)
assert len({document.id for document in [first, *rest]}) == 1500, len(rest)
print("whole", flush=True)
"""


def files(store):
    return {entry.name for entry in (Path(store.path) / "documents.lance" / "data").iterdir()}


def test_old_versions_go_at_once_unless_a_process_reads_them(tmp_path):
    store = Store.create(tmp_path / "index", encoder=HashEncoder())
    store.add(make_documents(1500))
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, store.path, str(Path(__file__).parent)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert reader.stdout.readline() == "reading\n"
    old = files(store)
    store.upsert(make_documents(1500, seed=1))
    store.delete([f"doc{number}" for number in range(700)])
    store.close()
    store.optimize()
    assert old < files(store)  # the reader is in the middle of its pages
    reader.stdin.write("go on\n")
    reader.stdin.flush()
    assert reader.stdout.readline() == "whole\n"
    assert reader.wait(timeout=60) == 0
    store.upsert([Document("doc800", "changed")])
    store.optimize()
    assert len(files(store)) <= 2
    assert not old & files(store)
    assert len(store) == 800
    own = store.documents()  # this very process reads
    next(own)
    held = files(store)
    store.delete(["doc801"])
    store.upsert([Document("doc802", "changed")])
    store.optimize()
    assert held < files(store)
    assert len(list(own)) == 799


def test_several_processes_read_while_one_writes(store):
    script = """
import sys
sys.path.insert(0, sys.argv[2])
from store_testing import HashEncoder
from polyvec.search.store import Store
store = Store.open(sys.argv[1], encoder=HashEncoder(), read_only=True)
seen = []
while not seen or seen[-1] < 100:
    ids = store.ids()
    assert len(ids) == len(set(ids)) and len(ids) % 10 == 0, len(ids)
    hits = store.search("bax dox", k=200, mode="hybrid")
    assert len({hit.id for hit in hits}) == len(hits)
    assert all(store.get(hit.id).id == hit.id for hit in hits[:3])
    seen.append(len(ids))
assert seen == sorted(seen)
"""
    readers = [
        subprocess.Popen([sys.executable, "-c", script, store.path, str(Path(__file__).parent)]) for _ in range(3)
    ]
    for batch in range(9):
        store.add([Document(f"b{batch}-{number}", "bax dox") for number in range(10)])
        store.close()
        if batch % 3 == 2:
            store.optimize()
    assert [reader.wait(timeout=120) for reader in readers] == [0, 0, 0]
