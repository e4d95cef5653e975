"""Never run: read by mypy and pyright in strict mode, as a user's own code would be."""
