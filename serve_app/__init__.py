import configs  # noqa: F401 - before NumPy
