"""Processes for the tests that kill, interrupt and starve an indexing run.

`python store_worker.py index REQUEST` runs once. `python store_worker.py serve` reads JSON requests line by line and
runs each in a child that it forks: the slow imports are made once. LanceDB itself is imported in the child, as its
threads would not survive the fork.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from store_testing import WORDS, HashEncoder

from polyvec.data.documents import Document

DOCUMENTS = 1600


def corpus(generation):
    """A collection that changes from one generation to the next: new texts, new metadata, new and dropped documents."""
    documents = []
    for number in range(DOCUMENTS):
        if (number + generation) % 10 == 0:
            continue  # each generation lacks other documents
        edition = generation if number % 3 == 0 else 0
        words = [WORDS[(number * 7 + part * part + edition) % len(WORDS)] for part in range(6)]
        metadata = {"generation": generation if number % 5 == 0 else 0, "number": number}
        if generation % 3 == 2 and number % 400 == 7:
            metadata["number"] = f"n{number}"  # a type that does not fit: the column is widened
        documents.append(Document(f"d{number:05}", f"number{number} " + " ".join(words), metadata=metadata))
    return documents


def run(path, log, generation, commit_documents=25, pause=0.0, file_limit=None):
    """Index one generation, noting each commit once it is safe."""
    import lancedb  # noqa: F401 - so that kills hit the work and not the imports

    from polyvec.search.indexing import index_sources

    documents = corpus(generation)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(ids):
        os.write(handle, (json.dumps({"generation": generation, "ids": ids}) + "\n").encode())
        os.fsync(handle)
        time.sleep(pause)

    if file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, resource.RLIM_INFINITY))
    print("ready", flush=True)
    index_sources(
        documents, path, encoder=HashEncoder(dim=16), origin="worker", commit_documents=commit_documents,
        on_commit=note, show_progress=False,
    )  # fmt: skip


def serve():
    import lance_namespace  # noqa: F401 - half of LanceDB's import time
    import pandas  # noqa: F401
    import pyarrow.dataset  # noqa: F401

    import polyvec.search.index_report  # noqa: F401

    print("serving", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                run(**json.loads(line))
                status = 0
            finally:
                sys.stdout.flush()
                os._exit(status)
        print(f"started {child}", flush=True)
        _, status = os.waitpid(child, 0)
        print(f"ended {os.waitstatus_to_exitcode(status)}", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        run(**json.loads(sys.argv[2]))
