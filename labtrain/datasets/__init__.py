"""Data sets: tables of features and labels, and their split into training, validation and test rows.

A data set is a class with a nested ``Config`` (a :class:`~labtrain.datasets.table.SplitOptions`, which every data set
extends by its own keys), a constructor that takes that Config and reads nothing, and ``load() -> Table``.
"""

from labtrain.datasets.digits import Digits
from labtrain.datasets.files import CsvTable, PetersonBarney, Vowels
from labtrain.datasets.idx import Idx
from labtrain.datasets.image_folder import ImageFolder
from labtrain.datasets.mnist_subset import MnistSubset
from labtrain.datasets.npz import Npz
from labtrain.datasets.parity import Parity
from labtrain.datasets.reader import read_rows
from labtrain.datasets.table import Split, SplitOptions, Table, split
from labtrain.datasets.xor_tones import XorTones

__all__ = [
    "CsvTable",
    "Digits",
    "Idx",
    "ImageFolder",
    "MnistSubset",
    "Npz",
    "Parity",
    "PetersonBarney",
    "Split",
    "SplitOptions",
    "Table",
    "Vowels",
    "XorTones",
    "read_rows",
    "split",
]
