"""The messages of KServe's protocol version 2 over gRPC, and of Triton's extension for the configuration of a model.

They are described here, in a pool that is separate from those of other packages, so that no generated code is needed.
Fields that are not used, such as parameters, are left out: protobuf skips them.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "inference"
TYPES = {
    "bool": 8,
    "int32": 5,
    "int64": 3,
    "uint32": 13,
    "uint64": 4,
    "float": 2,
    "double": 1,
    "bytes": 12,
    "string": 9,
}
# Message -> fields as `type name number`; `*type` is repeated; types that are not in TYPES are messages.
MESSAGES: dict[str, str] = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "bool live 1",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "bool ready 1",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "string name 1, string version 2, *string extensions 3",
    "ModelReadyRequest": "string name 1, string version 2",
    "ModelReadyResponse": "bool ready 1",
    "ModelMetadataRequest": "string name 1, string version 2",
    "ModelMetadataResponse": "string name 1, *string versions 2, string platform 3, *TensorMetadata inputs 4, "
    "*TensorMetadata outputs 5",
    "TensorMetadata": "string name 1, string datatype 2, *int64 shape 3",
    "ModelConfigRequest": "string name 1, string version 2",
    "ModelConfigResponse": "ModelConfig config 1",
    "ModelConfig": "string name 1, string platform 2, int32 max_batch_size 4",
    "InferTensorContents": "*bool bool_contents 1, *int32 int_contents 2, *int64 int64_contents 3, "
    "*uint32 uint_contents 4, *uint64 uint64_contents 5, *float fp32_contents 6, *double fp64_contents 7, "
    "*bytes bytes_contents 8",
    "InferInputTensor": "string name 1, string datatype 2, *int64 shape 3, InferTensorContents contents 5",
    "InferRequestedOutputTensor": "string name 1",
    "ModelInferRequest": "string model_name 1, string model_version 2, string id 3, *InferInputTensor inputs 5, "
    "*InferRequestedOutputTensor outputs 6, *bytes raw_input_contents 7",
    "InferOutputTensor": "string name 1, string datatype 2, *int64 shape 3, InferTensorContents contents 5",
    "ModelInferResponse": "string model_name 1, string model_version 2, string id 3, *InferOutputTensor outputs 5, "
    "*bytes raw_output_contents 6",
}


def classes() -> dict[str, Any]:
    """The class of each message."""
    file = descriptor_pb2.FileDescriptorProto(name="trimer_kserve.proto", package=PACKAGE, syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in filter(None, fields.split(", ")):
            kind, label, number = field.split()
            repeated, kind = kind.startswith("*"), kind.lstrip("*")
            entry: Any = message.field.add(name=label, number=int(number), label=3 if repeated else 1)
            if kind in TYPES:
                entry.type = TYPES[kind]
            else:
                entry.type, entry.type_name = 11, f".{PACKAGE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = [f"{PACKAGE}.{name}" for name in MESSAGES]
    return {name.partition(".")[2]: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names}
