"""Trimer: language models of mass spectra, molecules and proteins, composed from configs."""

__version__ = "0.1.0"
