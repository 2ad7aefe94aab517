"""`trimer evaluate`: a checkpoint on a split, beside the baselines, as a table, a page and one record per spectrum."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)

KIND = "trimer.tasks.seq2seq.Seq2Seq"
