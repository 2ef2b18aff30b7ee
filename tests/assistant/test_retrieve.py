import faiss
import numpy as np

from shoptalk.assistant.retrieve import dense_ranking


class Watched:
    """An index that notes how many threads it may use."""

    ntotal = 3

    def __init__(self) -> None:
        self.threads: list[int] = []

    def search(self, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        self.threads.append(faiss.omp_get_max_threads())
        return np.ones((1, k), np.float32), np.arange(k)[None]


def test_one_question_is_searched_by_one_thread_and_others_keep_theirs() -> None:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    try:
        index = Watched()
        cosines, numbers = dense_ranking(index, np.ones(4, np.float32), 5)
        assert index.threads == [1] and faiss.omp_get_max_threads() == 2
    finally:
        faiss.omp_set_num_threads(before)
    assert numbers.tolist() == [0, 1, 2] and cosines.shape == (3,)
