"""Trained models that travel with Trimer: a folder for each, and what packs, lists and describes them."""
