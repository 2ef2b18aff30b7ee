"""`/v1/embeddings`: the run's encoder, as OpenAI's clients know one."""

import base64
from typing import Any

import numpy as np
from fastapi import APIRouter

from shoptalk.serve.asking import Program, TheService, refusals
from shoptalk.serve.routes.chat_completions import MODEL
from shoptalk.serve.routes.openai_shapes import EmbeddingRequest
from shoptalk.serve.stored_answers import words_in

router = APIRouter(tags=["openai"])


@router.post("/v1/embeddings", responses=refusals())
async def embed(service: TheService, principal: Program, request: EmbeddingRequest) -> dict[str, Any]:
    """One vector for each text, as numbers or as base64 of little-endian float32."""
    texts = [request.input] if isinstance(request.input, str) else list(request.input)
    with service.answerer.admitted():
        vectors = np.asarray(await service.in_thread(lambda: service.assistant.embed(texts)), dtype="<f4")
    data = [
        {
            "object": "embedding",
            "index": number,
            "embedding": vector.tolist()
            if request.encoding_format == "float"
            else base64.b64encode(vector.tobytes()).decode(),
        }
        for number, vector in enumerate(vectors)
    ]
    read = words_in(texts)
    return {"object": "list", "data": data, "model": MODEL, "usage": {"prompt_tokens": read, "total_tokens": read}}
