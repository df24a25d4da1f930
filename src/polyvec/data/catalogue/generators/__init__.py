"""What makes the data that are not fetched: `(folder, **options) -> version`, one module a process."""
