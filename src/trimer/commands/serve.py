"""`trimer serve`: trained models over HTTP, with REST, KServe and SageMaker's routes."""

from __future__ import annotations

from omegaconf import DictConfig

from trimer.errors import ConfigError


def main(cfg: DictConfig) -> None:
    """Serve until SIGTERM or Ctrl-C; accepted requests are finished."""
    try:
        from trimer.serving.server import serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "trimer":
            raise
        raise ConfigError(f"trimer serve needs {error.name}: pip install 'trimer[serve]'") from error
    serve(cfg)
