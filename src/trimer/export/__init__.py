"""Export of trained models for other programs: transformers, safetensors, torch.export and ONNX."""
