"""Object storage: how LanceDB is told to reach it, and what its errors mean."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from polyvec.core.errors import InvalidTypeError, InvalidValueError, StoreError

IMPATIENT = {"connect_timeout": "5s", "timeout": "60s", "client_max_retries": "3", "client_retry_timeout": "20"}
"""LanceDB's own settings try a storage that is not there for minutes. `storage_options` or environment variables of
the same names override these."""

_ENDPOINTS = ("endpoint", "aws_endpoint", "aws_endpoint_url", "endpoint_url")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_URI = re.compile(r"(?:uri: Some\(|Error performing \w+ )(https?://[^/)\s]+)")
_UNREACHED = ("tcp connect error", "dns error", "kind: Connect", "Connection refused", "error sending request")
_REFUSED = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "ExpiredToken", "InvalidToken")


def is_address(path: str) -> bool:
    """Whether a path is the address of an object storage (`s3://bucket/index`) and not a folder."""
    return "://" in path


def check_address(address: str) -> None:
    """Raise `InvalidValueError` for an address without a bucket, or with a password in it, which would be shown."""
    scheme, _, rest = address.partition("://")
    bucket = rest.split("/", 1)[0]
    if "@" in bucket and scheme not in ("az", "abfss"):
        raise InvalidValueError(
            f"path: got {scheme}://***, an address with a password in it; give credentials as environment variables "
            "or storage_options"
        )
    if not bucket:
        raise InvalidValueError(f"path: got {address!r}, needs a bucket, as in {scheme}://bucket/index")


def connection_options(address: str, given: Mapping[str, str] | None) -> dict[str, str]:
    """What LanceDB is told: `given`, and defaults that end in minutes what would not answer.

    An endpoint that begins with `http://`, given or in the environment, is taken at its word: LanceDB would refuse it.

    Raises:
        InvalidTypeError: Options that are no mapping from text to text.
        InvalidValueError: An address that cannot be one.
    """
    check_address(address)
    if given is not None and not isinstance(given, Mapping):
        raise InvalidTypeError(f"storage_options: got {type(given).__name__}, needs a dict from names to texts")
    options = {}
    for name, value in (given or {}).items():
        if not isinstance(name, str) or not isinstance(value, (str, int, float, bool)):
            # the value is not shown: it may be a secret
            raise InvalidTypeError(f"storage_options: {name!r} has a value of {type(value).__name__}, needs text")
        options[name.lower()] = str(value).lower() if isinstance(value, bool) else str(value)
    for name, setting in IMPATIENT.items():
        if name not in options and name.upper() not in os.environ:
            options[name] = setting
    endpoint = next((options[name] for name in _ENDPOINTS if name in options), None) or next(
        (os.environ[name] for name in ("AWS_ENDPOINT", "AWS_ENDPOINT_URL") if name in os.environ), ""
    )
    if endpoint.startswith("http://"):
        options.setdefault("allow_http", "true")
    return options


def storage_problem(error: BaseException, address: str, action: str) -> StoreError | None:
    """What an error of object storage means, in one line without secrets; `None` when it is of another kind."""
    text = str(error)
    found = _URI.search(text)
    place = f" at {found.group(1)}" if found else ""
    bucket = address.partition("://")[2].split("/", 1)[0]
    code = (_CODE.search(text) or [None, ""])[1]
    problem = f"cannot {action} {address}: "
    if code == "NoSuchBucket":
        return StoreError(f"{problem}there is no bucket {bucket!r}{place}; create it, or check the address")
    if code in _REFUSED:
        return StoreError(
            f"{problem}access was refused{place} ({code}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what "
            "they may do in this bucket"
        )
    if "Failed to get AWS credentials" in text or "CredentialsNotLoaded" in text:
        return StoreError(
            f"{problem}there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give "
            "storage_options"
        )
    if "Failed to resolve region" in text:
        return StoreError(
            f"{problem}there is no bucket {bucket!r} to be found, nor its region; check the address, and set "
            "AWS_REGION (for a storage other than AWS also AWS_ENDPOINT_URL)"
        )
    if "No object store provider found" in text:
        return StoreError(
            f"{problem}no storage has addresses that begin with {address.partition('://')[0]}://; "
            "use s3://, gs:// or az://, or a folder"
        )
    if "BadScheme" in text:
        return StoreError(
            f"{problem}the endpoint{place} is not encrypted; use https, or allow it with "
            "storage_options={'allow_http': 'true'}"
        )
    if any(sign in text for sign in _UNREACHED):
        return StoreError(
            f"{problem}the storage{place} does not answer; check that it runs, and the endpoint (AWS_ENDPOINT_URL)"
        )
    if any(sign in text for sign in ("kind: Timeout", "timed out", "TimedOut")):
        return StoreError(
            f"{problem}the storage{place} did not answer in time; try again, or give it more time with "
            "storage_options={'timeout': '120s'}"
        )
    if code or "RetryError" in text or "max_retries" in text:
        return StoreError(f"{problem}the storage{place} reports {code or 'an error'}; try again later")
    return None
