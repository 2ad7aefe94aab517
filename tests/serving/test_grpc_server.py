"""KServe's protocol over gRPC; koinapy predicts unchanged where it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

pytest.importorskip("grpc")

import grpc

import trimer
from trimer.serving.grpc_messages import PACKAGE, classes
from trimer.serving.grpc_server import GrpcServer, array_of, raw_of
from trimer.serving.limits import Refusal


@pytest.fixture(scope="module")
def server(service) -> Iterator[GrpcServer]:
    server = GrpcServer(service, "127.0.0.1:0", None)
    server.start()
    yield server
    server.close(1)


@pytest.fixture(scope="module")
def call(server):
    """Calls a method: the name, then the fields of its request."""
    with caller(server.port) as run:
        yield run


@contextmanager
def caller(port: int, metadata: tuple = ()):
    """A function that calls a method of the server at a port. metadata: of each request."""
    messages = classes()
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")

    def run(method: str, **fields):
        function = channel.unary_unary(
            f"/{PACKAGE}.GRPCInferenceService/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=messages[f"{method}Response"].FromString,
        )
        return function(messages[f"{method}Request"](**fields), timeout=30, metadata=metadata)

    yield run
    channel.close()


def test_server_and_models_are_ready(call):
    assert call("ServerLive").live
    assert call("ServerReady").ready
    assert call("ModelReady", name="peptide-rt").ready
    assert not call("ModelReady", name="none").ready
    assert call("ModelConfig", name="peptide-rt").config.max_batch_size == 1000
    assert [one.name for one in call("ModelMetadata", name="peptide-rt").outputs] == ["irt"]


def test_raw_and_typed_contents_are_read(call):
    offline = trimer.load("peptide-rt").predict(["LGGNEQVTR"], trainer="cpu")["retention"]
    typed = {
        "name": "peptide_sequences",
        "datatype": "BYTES",
        "shape": [1, 1],
        "contents": {"bytes_contents": [b"LGGNEQVTR"]},
    }
    raw = {name: value for name, value in typed.items() if name != "contents"}
    for inputs, contents in (([typed], []), ([raw], [raw_of(np.array(["LGGNEQVTR"], object))])):
        response = call(
            "ModelInfer", model_name="peptide-rt", inputs=inputs, outputs=[{"name": "irt"}], raw_input_contents=contents
        )
        assert np.frombuffer(response.raw_output_contents[0], "<f4") == pytest.approx(offline, abs=1e-4)


def test_wrong_requests_get_a_code_and_a_sentence(call):
    with pytest.raises(grpc.RpcError) as error:
        call("ModelInfer", model_name="peptide-rt")
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "peptide_sequences is missing" in error.value.details()
    with pytest.raises(grpc.RpcError) as error:
        call("ModelMetadata", name="none")
    assert error.value.code() is grpc.StatusCode.NOT_FOUND
    short = {"name": "peptide_sequences", "datatype": "BYTES", "shape": [2, 1], "contents": {"bytes_contents": [b"A"]}}
    with pytest.raises(grpc.RpcError) as error:
        call("ModelInfer", model_name="peptide-rt", inputs=[short])
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "the shape of peptide_sequences is [2, 1], and it has 1 value" in error.value.details()
    with pytest.raises(Refusal, match="end early"):
        array_of("x", "BYTES", b"\xff\xff\xff\xffab")


def test_a_token_is_required_except_for_health(service):
    server = GrpcServer(service, "127.0.0.1:0", "secret")
    server.start()
    with caller(server.port) as call:
        assert call("ServerLive").live
        for method in ("ModelReady", "ModelMetadata"):
            with pytest.raises(grpc.RpcError) as error:
                call(method, name="peptide-rt")
            assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
    with caller(server.port, (("authorization", "Bearer secret"),)) as call:
        assert call("ModelReady", name="peptide-rt").ready
    server.close(1)


def test_koinapy_predicts_unchanged(server):
    koinapy = pytest.importorskip("koinapy")
    import pandas as pd

    address = f"127.0.0.1:{server.port}"
    frame = pd.DataFrame({"peptide_sequences": ["LGGNEQVTR", "[UNIMOD:1]-AC[UNIMOD:4]DEFGHK", "PEPTIDEU"]})
    times = koinapy.Koina("peptide-rt", address, ssl=False).predict(frame, disable_progress_bar=True)
    offline = trimer.load("peptide-rt").predict(frame["peptide_sequences"].tolist(), trainer="cpu")["retention"]
    assert times["irt"].tolist()[:2] == pytest.approx(offline[:2], abs=1e-4)
    assert np.isnan(times["irt"].tolist()[2])
    frame = frame.assign(precursor_charges=[2, 3, 2], collision_energies=[27.0, 27.0, 27.0], instrument_types="QE")
    fragments = koinapy.Koina("peptide-ms2", address, ssl=False).predict(frame, disable_progress_bar=True)
    assert set(fragments["peptide_sequences"]) == set(frame["peptide_sequences"][:2])
    assert fragments.groupby("peptide_sequences")["intensities"].max().tolist() == pytest.approx([1.0, 1.0])
    assert (
        fragments["annotation"]
        .map(lambda text: (text.decode() if isinstance(text, bytes) else text)[0])
        .isin(["b", "y"])
        .all()
    )
