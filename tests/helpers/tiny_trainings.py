"""Overrides that make a training of spectra to molecules take a second."""

from __future__ import annotations


def tiny_bart(width: int, ffn: int) -> list[str]:
    """A small network with small batches, without a progress display."""
    return [
        f"model.d_model={width}",
        f"model.encoder_ffn={ffn}",
        f"model.decoder_ffn={ffn}",
        "data.tokens_per_batch=700",
        "trainer.enable_progress_bar=false",
    ]


TINY = [*tiny_bart(16, 16), "data.source.molecules=30", "trainer.precision=32-true"]
