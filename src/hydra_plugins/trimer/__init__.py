"""Trimer's plugins for Hydra: config folders of the user, and sweeps with one process per job."""
