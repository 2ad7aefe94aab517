"""Baselines of the result tables: labels (label_baselines), masked tokens (protein_baselines), spectra."""
