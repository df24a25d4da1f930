"""What the tests of the page share."""

import pytest


@pytest.fixture(scope="module")
def browser():
    """The installed Chromium, without a window."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is in polyvec[test]")
    from page_testing import FLAGS, chromium_path

    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium_path(), args=list(FLAGS))
        yield started
        started.close()
