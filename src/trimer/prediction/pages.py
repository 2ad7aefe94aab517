"""What the predictors have in common when they write a page (`output=<name>.html`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimer import __version__
from trimer.errors import ConfigError
from trimer.reporting.prediction_page import HTML, MOST_CARDS

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from trimer.prediction.predictor import Predictor


def is_page(cfg: DictConfig) -> bool:
    """Whether the output is a page; ConfigError if it cannot have `cfg.cards` cards."""
    if Path(cfg.output).suffix.lower() != HTML:
        return False
    if not 1 <= cfg.cards <= MOST_CARDS:
        raise ConfigError(f"cards={cfg.cards} must be 1 to {MOST_CARDS}: more make a page that browsers open slowly")
    return True


def page_settings(predictor: Predictor, title: str) -> dict[str, Any]:
    """The arguments that every kind of page has."""
    cfg = predictor.cfg
    about = {"Trimer": __version__, "Checkpoint": str(cfg.ckpt), "Input": str(cfg.input or "the shipped example")}
    if cfg.get("library"):
        about["Library"] = str(cfg.library)
    source = Path(cfg.input).name if cfg.input else "example"
    return {"title": title, "what": predictor.plural, "source": source, "cards": cfg.cards, "about": about}
