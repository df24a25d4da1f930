"""Where entries come from: one module a kind of source.

Each has a function `(entry, folder, *, offline, refresh) -> Fetched` that lays the wanted files down in `folder`.
"""
