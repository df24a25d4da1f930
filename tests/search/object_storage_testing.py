"""An S3-compatible server for the tests, and how a store reaches it."""

import logging
import os
import sys
from contextlib import contextmanager
from pathlib import Path

BUCKET = "polyvec-test"
SECRET = "NEVER-SHOW-THIS-SECRET"
HERE = str(Path(__file__).parent)


@contextmanager
def s3_server():
    """The address of a server that holds an empty bucket."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    try:
        client = boto3.client(
            "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key=SECRET
        )
        client.create_bucket(Bucket=BUCKET)
        yield url
    finally:
        server.stop()


def variables(url):
    """The environment of a process that shall find the server."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }


def options(url):
    """The same as `storage_options`."""
    return {"endpoint": url, "region": "us-east-1", "aws_access_key_id": "key", "aws_secret_access_key": SECRET}


def process_environment(url):
    """For a Python process that imports polyvec and these tests' helpers."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**clean, **variables(url), "PYTHONPATH": os.pathsep.join([HERE, *sys.path])}
