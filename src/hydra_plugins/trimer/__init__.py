"""Trimer's plugins for Hydra: the user's config folders, and sweeps with one process a job."""
