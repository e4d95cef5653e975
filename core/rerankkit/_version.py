"""The version, in one place: the build, the user agent and `rerankkit.__version__` read it here."""

__version__ = "0.1.0"
