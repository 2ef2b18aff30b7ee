"""Texts of many requests become one batch of the encoder: one thread embeds, whoever needs vectors waits for it."""

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np
import torch
from jaxtyping import Float

from shoptalk.assistant.shelf import Embeds

_LARGEST = 64
"""Texts of a batch; more are a batch of their own."""
_Asked = tuple[list[str], "Future[Float[np.ndarray, 'N D']]"]


class BatchingEncoder:
    """An encoder that embeds what waits at the moment at once: nobody waits for a batch to fill."""

    def __init__(self, encoder: Embeds) -> None:
        self._encoder = encoder
        self._waiting: queue.SimpleQueue[_Asked] = queue.SimpleQueue()
        self.batches = 0
        threading.Thread(target=self._work, name="encoder", daemon=True).start()

    def embed(self, items: Sequence[str]) -> Float[np.ndarray, "N D"]:
        """One vector for each text."""
        if not items or len(items) > _LARGEST:  # documents that are added must not hold up those who wait for replies
            return self._encoder.embed(items)
        asked: _Asked = (list(items), Future())
        self._waiting.put(asked)
        return asked[1].result()

    def _work(self) -> None:
        # A question is too short for two threads to gain what waiting for each other costs; more are then free.
        torch.set_num_threads(1)
        while True:
            batch = [self._waiting.get()]
            n_texts = len(batch[0][0])
            while n_texts < _LARGEST and not self._waiting.empty():
                batch.append(self._waiting.get())
                n_texts += len(batch[-1][0])
            self._embed(batch)

    def _embed(self, batch: Sequence[_Asked]) -> None:
        self.batches += 1
        try:
            vectors = self._encoder.embed([text for texts, _ in batch for text in texts])
        except BaseException as error:
            for _, future in batch:
                future.set_exception(error)
            return
        first = 0
        for texts, future in batch:
            future.set_result(vectors[first : first + len(texts)])
            first += len(texts)
