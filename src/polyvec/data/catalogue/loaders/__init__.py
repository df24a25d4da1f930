"""What `load` calls: one module a kind of data.

A loader is `(folder, *, option=default, ...) -> object`; its options are keyword-only, so that `load` can check them.
"""
