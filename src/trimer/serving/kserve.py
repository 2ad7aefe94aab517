"""KServe's protocol version 2 (Open Inference), for HTTP and gRPC: tensors in, tensors out.

Peptides have the names and shapes of Koina: `peptide_sequences`, `precursor_charges`, `collision_energies` and
`instrument_types`, each (n, 1); outputs `intensities`, `mz` and `annotation`, each (n, K), or `irt`, (n, 1). K is the
same for all requests. A row that cannot be predicted has -1 or NaN and no text; the output `errors`, (n, 1), has the
reasons; it is returned to clients that ask for it or name no outputs.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trimer.counts import counted
from trimer.peptides.channels import Channel, channels_of, possible
from trimer.peptides.fragment_ions import LOSSES, fragment_masses
from trimer.peptides.proforma import PROTON, read_proforma
from trimer.serving.limits import Refusal
from trimer.serving.models import ServedModel
from trimer.serving.rows import Answer
from trimer.serving.service import Service
from trimer.targets import TARGETS

LONGEST = 50  # residues of a peptide whose fragments fit into K columns, for models that state no length
BATCH = 1000  # rows of a request, as in Koina
CANDIDATES = 10  # molecules of a spectrum
ERRORS = "errors"
SEQUENCES = {"peptides": "peptide_sequences", "molecules": "smiles", "proteins": "sequences"}  # names of the inputs
DTYPES: dict[str, Any] = {
    "BYTES": np.dtype(object), "FP32": np.dtype("<f4"), "FP64": np.dtype("<f8"), "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"), "INT64": np.dtype("<i8"),
}  # fmt: skip
WITHOUT_DASH = re.compile(r"^(\[UNIMOD:\d+\])(?=[A-Z])")


@dataclass(frozen=True)
class TensorInfo:
    """A named tensor of a model. width: columns of a row, -1 for any."""

    name: str
    datatype: str
    width: int = 1


Tensors = dict[str, np.ndarray]


class TensorModel:
    """The tensors of a served model."""

    def __init__(self, model: ServedModel):
        self.model = model
        labels = model.model.loaded.contract.get("labels") or {}
        target, classes = TARGETS.get(labels.get("target", "")), list(labels.get("classes") or ())
        kind = model.study.example
        self.inputs: list[TensorInfo] = []
        self.outputs: list[TensorInfo] = []
        self.settings: dict[str, Any] = {}
        self._records: Callable[[Mapping[str, list]], list] = lambda columns: columns[self.inputs[0].name]
        self._rows: Callable[[Answer], Tensors]
        if "predict" not in model.operations or (target and target.by_residue):
            return
        if kind == "precursors":
            self._fragments(classes)
        elif kind == "spectra":
            self._spectra()
        elif target and (name := SEQUENCES.get(kind)):
            self.inputs = [TensorInfo(name, "BYTES")]
            retention = kind == "peptides" and target.numbers and len(classes) == 1
            self.outputs = [TensorInfo("irt" if retention else "predictions", "FP32", len(classes))]
            names = target.outputs(classes)
            self._rows = lambda answer: {self.outputs[0].name: numbers(answer, names)}

    @property
    def names(self) -> set[str]:
        """The outputs that a client may ask for; `rt` is another name of `irt`."""
        known = {output.name for output in self.outputs} | {ERRORS}
        return known | {"rt"} if "irt" in known else known

    def _fragments(self, classes: Sequence[str]) -> None:
        channels = channels_of(classes)
        longest = self.model.model.loaded.contract["data"].get("longest") or LONGEST
        width = (longest - 1) * len(channels)
        self.inputs = [
            TensorInfo("peptide_sequences", "BYTES"),
            TensorInfo("precursor_charges", "INT32"),
            TensorInfo("collision_energies", "FP32"),
            TensorInfo("instrument_types", "BYTES"),
        ]
        self.outputs = [
            TensorInfo("intensities", "FP32", width),
            TensorInfo("mz", "FP32", width),
            TensorInfo("annotation", "BYTES", width),
        ]
        self.settings = {"notation": "proforma", "fixed": ""}  # ProForma names every modification
        self._records = records_by(("sequence", "charge", "nce", "instrument"), self.inputs)
        self._rows = lambda answer: fragment_tensors(answer, channels, width)

    def _spectra(self) -> None:
        self.inputs = [
            TensorInfo("mz", "BYTES"),
            TensorInfo("intensities", "BYTES"),
            TensorInfo("precursor_mz", "FP64"),
            TensorInfo("adduct", "BYTES"),
        ]
        self.outputs = [
            TensorInfo("smiles", "BYTES", CANDIDATES),
            TensorInfo("score", "FP32", CANDIDATES),
            TensorInfo("ppm_error", "FP32", CANDIDATES),
        ]
        self.settings = {"ranked": True, "candidates": CANDIDATES}
        self._records = records_by([tensor.name for tensor in self.inputs], self.inputs)
        self._rows = candidate_tensors

    def metadata(self) -> dict[str, Any]:
        """The response to a request for metadata."""
        return {
            "name": self.model.name,
            "versions": [self.model.version],
            "platform": "trimer",
            "inputs": [self._info(tensor) for tensor in self.inputs],
            "outputs": [self._info(tensor) for tensor in self.outputs],
        }

    def _info(self, tensor: TensorInfo) -> dict[str, Any]:
        return {"name": tensor.name, "datatype": tensor.datatype, "shape": [-1, tensor.width]}

    def config(self, service: Service) -> dict[str, Any]:
        """The response to a request for the configuration (an extension of Triton), of which clients read the size."""
        return {"name": self.model.name, "platform": "trimer", "max_batch_size": min(BATCH, service.limits.records)}

    def infer(
        self, service: Service, tensors: Tensors, wanted: Sequence[str], cancelled: threading.Event | None = None
    ) -> Tensors:
        """The outputs of a request; Refusal for tensors of other names, types or sizes."""
        if not self.inputs:
            raise Refusal(422, "unsupported_operation", f"{self.model.name} has no tensors: use /v1/models")
        if unknown := [name for name in wanted if name not in self.names]:
            raise Refusal(
                422, "unknown_output", f"there is no output {unknown[0]}; there are {', '.join(sorted(self.names))}"
            )
        records = self._records(self._columns(tensors))
        answer = service.answer(self.model, "predict", records, dict(self.settings), cancelled)
        outputs = self._rows(answer)
        reasons = [prediction[0]["reason"] or "" for prediction in answer.predictions]
        outputs[ERRORS] = np.array(reasons, object)[:, None]
        if "rt" in wanted:
            outputs["rt"] = outputs["irt"]
        return {name: outputs[name] for name in wanted or outputs}

    def _columns(self, tensors: Tensors) -> dict[str, list]:
        """The values of each input, one for each row; missing optional inputs stay empty."""
        required = [self.inputs[0].name, "precursor_charges"] if len(self.inputs) > 1 else [self.inputs[0].name]
        required = [name for name in required if name in {tensor.name for tensor in self.inputs}]
        aliases = {"precursor_charge": "precursor_charges", "collision_energy": "collision_energies"}
        tensors = {aliases.get(name, name): value for name, value in tensors.items()}
        known = {tensor.name: tensor for tensor in self.inputs}
        for name in tensors:
            if name not in known:
                raise Refusal(422, "unknown_input", f"there is no input {name[:40]}; there are {', '.join(known)}")
        for name in required:
            if name not in tensors:
                raise Refusal(422, "missing_input", f"the input {name} is missing")
        sizes = {name: value.size for name, value in tensors.items()}
        if len(set(sizes.values())) != 1:
            shown = ", ".join(f"{name}: {size}" for name, size in sizes.items())
            raise Refusal(422, "invalid_shape", f"all inputs must have the shape [n, 1]; their sizes are {shown}")
        return {name: [plain(value) for value in tensors[name].ravel()] for name in known if name in tensors}


def records_by(names: Sequence[str], inputs: Sequence[TensorInfo]) -> Callable[[Mapping[str, list]], list[dict]]:
    """A function from columns, by the names of inputs, to a record for each row. names: of the fields of a record."""
    fields = dict(zip((tensor.name for tensor in inputs), names, strict=True))

    def records(columns: Mapping[str, list]) -> list[dict]:
        kept = [fields[name] for name in columns]
        return [dict(zip(kept, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    return records


def plain(value: Any) -> Any:
    """A text or a number; Koina's `[UNIMOD:1]PEPTIDE` gets the dash of ProForma."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return WITHOUT_DASH.sub(r"\1-", value)
    return value.item() if hasattr(value, "item") else value


def numbers(answer: Answer, names: Sequence[str]) -> np.ndarray:
    """(n, K) float32 of some columns, NaN in rows with a reason."""
    known = [name if name in answer.columns else f"predicted {name}" for name in names]
    rows = [[prediction[0][name] for name in known] for prediction in answer.predictions]
    return np.array([[np.nan if value is None else value for value in row] for row in rows], np.float32)


def fragment_tensors(answer: Answer, channels: Sequence[Channel], width: int) -> Tensors:
    """Intensities, m/z and annotations of the fragments: the cleavage sites of a peptide by the channels.

    Impossible fragments have the intensity -1, as in Koina.
    """
    count = len(answer.predictions)
    intensities = np.full((count, width), -1, np.float32)
    mz = np.full((count, width), -1, np.float32)
    annotation = np.full((count, width), "", object)
    for row, (prediction, *_) in enumerate(answer.predictions):
        if prediction["reason"] is not None:
            continue
        peptide = read_proforma(prediction["peptide"])
        sites = len(peptide.letters) - 1
        size = sites * len(channels)
        if size > width:
            prediction["reason"] = (
                f"{counted(sites + 1, 'residues')}, the tensors have room for {width // len(channels) + 1}"
            )
            continue
        values = np.asarray(prediction["intensities"], np.float32)
        intensities[row, :size] = np.where(possible(peptide, prediction["charge"], channels), values, -1).ravel()
        prefixes, suffixes = fragment_masses(peptide)
        columns = []
        for channel in channels:
            masses = prefixes if channel.series == "b" else suffixes[::-1]
            columns.append((masses - LOSSES[channel.loss]) / channel.charge + PROTON)
        mz[row, :size] = np.stack(columns, axis=1).ravel()
        annotation[row, :size] = [
            annotated(channel, channel.number(site, sites)) for site in range(sites) for channel in channels
        ]
    return {"intensities": intensities, "mz": mz, "annotation": annotation}


def annotated(channel: Channel, number: int) -> str:
    """`y3+1`, or `y3-H3PO4+1`."""
    loss = f"-{channel.loss}" if channel.loss else ""
    return f"{channel.series}{number}{loss}+{channel.charge}"


def candidate_tensors(answer: Answer) -> Tensors:
    """SMILES, score and mass error in ppm of the candidates of each spectrum, the best first."""
    count = len(answer.predictions)
    smiles = np.full((count, CANDIDATES), "", object)
    values = {name: np.full((count, CANDIDATES), np.nan, np.float32) for name in ("score", "ppm_error")}
    for row, prediction in enumerate(answer.predictions):
        for column, candidate in enumerate(prediction if prediction[0]["reason"] is None else ()):
            smiles[row, column] = candidate["smiles"]
            for name, array in values.items():
                array[row, column] = np.nan if candidate[name] is None else candidate[name]
    return {"smiles": smiles, **values}
