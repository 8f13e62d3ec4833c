"""Codes of weights that no processor's arithmetic exceeds."""

import numpy as np
import pytest

from export.graph import unsaturated

RANDOM = np.random.default_rng(3)
MATRICES = {
    "usual": RANDOM.normal(size=(192, 48)),
    "odd": RANDOM.normal(size=(7, 5)),
    "all of one sign": np.abs(RANDOM.normal(size=(64, 16))),
    "equal": np.ones((8, 3)),
    "nothing": np.zeros((4, 2)),
}


@pytest.mark.parametrize("kind", MATRICES)
def test_a_pair_of_products_fits_sixteen_bits(kind: str) -> None:
    matrix = MATRICES[kind].astype(np.float32)
    codes, scales = unsaturated(matrix)
    assert codes.dtype == np.int8 and scales.shape == (matrix.shape[1],)
    even = np.vstack([codes, np.zeros((len(codes) % 2, codes.shape[1]), np.int8)]).astype(int)
    largest = 255 * np.maximum(even, 0).reshape(-1, 2, matrix.shape[1]).sum(1)
    smallest = 255 * np.minimum(even, 0).reshape(-1, 2, matrix.shape[1]).sum(1)
    assert largest.max() < 2**15 and smallest.min() >= -(2**15)
    assert (np.abs(codes * scales - matrix) <= scales / 2 + 1e-6).all()
