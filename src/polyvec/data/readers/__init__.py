r"""Readers for the user's own files: text, Markdown, HTML, JSON, CSV, Parquet, Arrow, PDF, and folders of them.

`read` yields documents, `scan` lists the files it would read, a `ReadReport` tells what was left out.

```python
from polyvec.data import readers

report = readers.ReadReport()
for document in readers.read("my-notes", exclude="drafts/", report=report):
    ...
print(*report.lines(), sep="\n")
```
"""

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.data.readers.formats import SUPPORTED_SUFFIXES as SUPPORTED_SUFFIXES
    from polyvec.data.readers.reading import read as read
    from polyvec.data.readers.report import LeftOut as LeftOut
    from polyvec.data.readers.report import ReadReport as ReadReport
    from polyvec.data.readers.report import SkippedFile as SkippedFile
    from polyvec.data.readers.scanning import scan as scan
    from polyvec.data.readers.source_file import SourceFile as SourceFile

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "LeftOut": "polyvec.data.readers.report",
        "ReadReport": "polyvec.data.readers.report",
        "SUPPORTED_SUFFIXES": "polyvec.data.readers.formats",
        "SkippedFile": "polyvec.data.readers.report",
        "SourceFile": "polyvec.data.readers.source_file",
        "read": "polyvec.data.readers.reading",
        "scan": "polyvec.data.readers.scanning",
    },
)
