"""Writers that race on object storage, are killed, or lose their lease; readers beside them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from object_storage_testing import BUCKET, options, process_environment, s3_server
from store_testing import HashEncoder

from polyvec.core.errors import StoreError
from polyvec.data.documents import Document
from polyvec.search import Store
from polyvec.search.store import lease
from polyvec.search.store.lease import Lease
from polyvec.search.store.opening import Place

WRITER = """
import json, sys, time
from store_testing import HashEncoder
from polyvec.core.errors import StoreError
from polyvec.data.documents import Document
from polyvec.search import Store
from polyvec.search.store import lease
address, name, rounds, timeout, lease.LEASE_SECONDS = sys.argv[1], sys.argv[2], *map(float, sys.argv[3:])
print("ready", flush=True)
sys.stdin.readline()
store = Store.open_or_create(address, encoder=HashEncoder(), lock_timeout=timeout)
written, refused = [], []
for number in range(int(rounds)):
    documents = [Document(f"{name}-{number}-{part}", f"bax {number}") for part in range(3)]
    try:
        with store.writer():
            common = Document("common", f"{name} {number}")
            store.upsert([*documents, common])
        written += [document.id for document in documents]
    except StoreError as error:
        refused.append(str(error))
    print(json.dumps([written, refused]), flush=True)
"""


@pytest.fixture(scope="module")
def url():
    with s3_server() as url:
        yield url


def start(url, address, name, rounds, timeout=60.0, seconds=30.0):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, address, name, str(rounds), str(timeout), str(seconds)],
        env=process_environment(url), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    return process


def go(*processes):
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()


def result(process):
    lines = process.stdout.read().splitlines()
    assert process.wait(timeout=60) == 0
    return json.loads(lines[-1])


def test_two_writers_create_and_write_at_once_and_nothing_is_lost_or_doubled(url):
    address = f"s3://{BUCKET}/race"
    writers = [start(url, address, name, 4) for name in "ab"]
    go(*writers)
    reader, sizes = None, []
    while any(writer.poll() is None for writer in writers):
        if reader is None:
            try:
                reader = Store.open(address, encoder=HashEncoder(), read_only=True, storage_options=options(url))
            except StoreError as error:
                assert "holds no index" in str(error)
                time.sleep(0.1)
                continue
        ids = reader.ids()
        assert len(ids) == len(set(ids))
        assert (len(ids) - 1) % 3 == 0 or not ids, "half a commit was seen"
        sizes.append(len(ids))
    outcomes = [result(writer) for writer in writers]
    assert [refused for _, refused in outcomes] == [[], []]  # each waited for the other
    store = Store.open(address, encoder=HashEncoder(), storage_options=options(url))
    wanted = {"common", *(key for written, _ in outcomes for key in written)}
    assert len(wanted) == 1 + 2 * 4 * 3
    assert sorted(store.ids()) == sorted(wanted)
    positions = store.snapshot().scan(["position"])["position"].to_pylist()
    assert sorted(positions) == list(range(len(wanted)))
    assert sizes == sorted(sizes)
    assert {hit.id for hit in store.search("bax", k=100, mode="keyword")} == wanted - {"common"}


def test_a_second_writer_is_told_who_writes_and_a_killed_writer_loses_its_place(url):
    address = f"s3://{BUCKET}/killed"
    Store.create(address, encoder=HashEncoder(), storage_options=options(url))
    writer = start(url, address, "a", 1000, seconds=3.0)
    go(writer)
    for _ in range(3):
        writer.stdout.readline()  # so many commits are safe
    other = Store.open(address, encoder=HashEncoder(), lock_timeout=60, storage_options=options(url))
    os.kill(writer.pid, signal.SIGSTOP)  # wherever it is, it is no further
    with_lease = Lease(other._place.connection, address)
    row = with_lease._row(with_lease._table())
    os.kill(writer.pid, signal.SIGCONT)
    os.kill(writer.pid, signal.SIGKILL)
    lines = writer.stdout.read().splitlines()
    writer.wait()
    assert row["holder"].startswith(f"process {writer.pid} on ")
    other.add([Document("other", "mine")])
    safe = {f"a-{number}-{part}" for number in range(3) for part in range(3)}
    for line in lines:
        safe |= set(json.loads(line)[0])
    ids = other.ids()
    assert len(ids) == len(set(ids))
    assert safe | {"common", "other"} <= set(ids)
    assert len(ids) % 3 == 2


def test_the_lease(url, monkeypatch):
    address = f"s3://{BUCKET}/lease"
    places = [Place(address, options(url)) for _ in range(2)]
    first, second = (Lease(place.connection, address, seconds=1.5) for place in places)
    first.acquire(0)
    with pytest.raises(StoreError, match=f"process {os.getpid()} on .* is writing to it and did not finish within 0 s"):
        second.acquire(0)
    time.sleep(2)  # renewed meanwhile
    first.check()
    with pytest.raises(StoreError, match="is writing to it"):
        second.acquire(0)
    first.release()
    second.acquire(10)
    second.release()

    first.acquire(10)
    monkeypatch.setattr(first, "_renew", None)
    first._stop.set()  # as if the process had been stopped for a while
    first._renewer.join()
    second.acquire(20)
    with pytest.raises(StoreError, match="could not renew its lease"):
        first.check()
    first.release()  # gives back nothing that is another's
    second.check()
    with pytest.raises(StoreError, match="is writing to it"):
        first.acquire(0)
    second.release()


def test_one_of_many_takes_the_lease(url):
    address = f"s3://{BUCKET}/many"
    inside, most, failures = [], [], []

    def work():
        mine = Lease(Place(address, options(url)).connection, address)
        try:
            mine.acquire(120)
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.05)
            inside.pop()
            mine.release()
        except (StoreError, RuntimeError, ValueError) as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert most == [1] * 4


def test_a_lease_that_a_second_creation_of_its_table_wiped_out_is_taken_again(url, monkeypatch):
    address = f"s3://{BUCKET}/created-twice"
    place = Place(address, options(url))
    first, second = Lease(place.connection, address), Lease(place.connection, address)
    settled, wiped = Lease._settled, []

    def created_again(self, table):
        if not wiped:  # another process's creation lands just after the lease was taken
            nobody = table.search().limit(1).to_arrow().to_pylist()[0] | {"token": "", "until": 0.0}
            place.connection().create_table(lease.LEASE_TABLE, [nobody], schema=lease._SCHEMA, mode="overwrite")
            wiped.append(self)
        return settled(self, table)

    monkeypatch.setattr(Lease, "_settled", created_again)
    first.acquire(20)
    assert wiped == [first]
    with pytest.raises(StoreError, match="is writing to it"):
        second.acquire(0)
    first.check()
    first.release()


def test_a_writer_that_lost_its_lease_commits_nothing(url, monkeypatch):
    monkeypatch.setattr(lease, "LEASE_SECONDS", 1.0)
    address = f"s3://{BUCKET}/lost"
    store = Store.create(address, encoder=HashEncoder(), storage_options=options(url))
    with store.writer() as writer:
        held = store._lock.lease
        held._stop.set()
        held._renewer.join()
        held._safe_until = time.monotonic()
        with pytest.raises(StoreError, match="could not renew its lease"):
            writer.delete(["x"])
    assert len(store) == 0
