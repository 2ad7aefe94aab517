"""The peer of benchmarks/serving.py: a plain server of FastAPI and transformers that embeds proteins.

python benchmarks/serving_peer.py FOLDER PORT

Its best configuration on a CPU: fp32, inference mode, scaled dot-product attention, sequences one by one without
padding, one request at a time in the thread pool of FastAPI.
"""

from __future__ import annotations

import sys
import threading

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoTokenizer, EsmModel


class Body(BaseModel):
    """A request."""

    records: list[str]


def create_app(folder: str) -> FastAPI:
    """The application with the model of a Hugging Face folder."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = EsmModel.from_pretrained(folder, add_pooling_layer=False).eval()
    app, lock = FastAPI(), threading.Lock()

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/embed")
    def embed(body: Body) -> dict[str, list]:
        rows = []
        with lock, torch.inference_mode():
            for sequence in body.records:
                tokens = tokenizer(sequence, return_tensors="pt")
                hidden = model(**tokens).last_hidden_state[0]
                rows.append({"embedding": hidden[1:-1].mean(0).tolist()})
        return {"rows": rows}

    return app


if __name__ == "__main__":
    torch.set_num_threads(1)
    uvicorn.run(create_app(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
