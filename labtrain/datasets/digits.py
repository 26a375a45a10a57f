"""Handwritten digits of 8 x 8 pixels, from scikit-learn."""

from __future__ import annotations

from typing import Literal

import numpy as np

from labtrain.datasets.table import SplitOptions, Table
from labtrain.errors import MissingExtra


class Digits:
    """1,797 digits, 64 features from 0 to 16, 10 classes.

    The test set of the UCI "Optical Recognition of Handwritten Digits" data (Alpaydin and Kaynak 1998), which
    scikit-learn carries; the extra ``ml`` installs it.
    """

    class Config(SplitOptions):
        """Settings of the data set ``digits``."""

        type: Literal["digits"]

    def __init__(self, config: Config) -> None:
        self.config = config

    def load(self) -> Table:
        """Read the digits from scikit-learn.

        Raises
        ------
        MissingExtra
            If scikit-learn is not installed.
        """
        try:
            from sklearn.datasets import load_digits  # type: ignore[import-untyped]
        except ImportError:
            raise MissingExtra(
                'data set digits needs scikit-learn, which is not installed; run: pip install "labtrain[ml]"'
            ) from None
        digits = load_digits()
        return Table(
            features=np.asarray(digits.data, dtype=np.float64),
            labels=np.asarray(digits.target, dtype=np.int64),
            classes=tuple(str(name) for name in digits.target_names),
            feature_names=tuple(f"pixel {row},{column}" for row in range(8) for column in range(8)),
            groups=None,
            source="digits",
        )
