"""A server of an index whose encoder needs no model: `python server_worker.py DIR [--token T] [--slow FILE]`.

With `--slow` it makes the file when it begins to encode documents, and takes a second for them.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "search"))

from store_testing import HashEncoder

from polyvec.app.serve_commands import run_server
from polyvec.search import Store


class SlowEncoder(HashEncoder):
    def __init__(self, begun):
        super().__init__()
        self.begun = Path(begun)

    def encode(self, texts, **options):
        self.begun.touch()
        time.sleep(1)
        return super().encode(texts, **options)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--token")
    parser.add_argument("--slow")
    options = parser.parse_args()
    encoder = SlowEncoder(options.slow) if options.slow else HashEncoder()
    store = Store.open(options.folder, encoder=encoder)
    run_server(store, port=0, token=options.token, quiet=True)
