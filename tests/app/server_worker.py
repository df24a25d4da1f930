"""A server of an index whose encoder needs no model: `python server_worker.py DIR [--read-only] [--token T]`."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "search"))

from store_testing import HashEncoder

from polyvec.app.serve_commands import run_server
from polyvec.search import Store

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--read-only", action="store_true")
    parser.add_argument("--token")
    options = parser.parse_args()
    store = Store.open(options.folder, encoder=HashEncoder(), read_only=options.read_only)
    run_server(store, port=0, token=options.token, quiet=True)
