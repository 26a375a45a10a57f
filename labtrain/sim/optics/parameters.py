"""What the simulated optical bench is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from labtrain.errors import InputError


@dataclass(frozen=True)
class OpticalParameters:
    """Every physical parameter of modulator, scatterer and camera.

    The modulator consists of *cells*: groups of its pixels that are told the same. With the defaults 26 x 26 inputs go
    to 26 x 26 camera pixels, the mean of the speckle is a tenth of the full well, and a pixel at the mean has a
    signal-to-noise ratio of 30 dB, that of 1,000 photo-electrons.

    Raises
    ------
    InputError
        If a number makes no bench.
    """

    # Modulator. A phase range of pi: 0 and 1 of a range of 2 pi are one phase.
    slm_shape: tuple[int, int] = (26, 26)
    input_region: tuple[int, int, int, int] | None = None  # top, left, rows, columns, in cells; None: all of them
    input_cells: int = 1  # an input drives so many cells along each side; the last may be cut by the region's end
    modulation: Literal["phase", "amplitude"] = "phase"
    levels: int = 256
    phase_range_rad: float = 3.141592653589793
    fill_factor: float = 0.93  # share of a cell that modulates; the rest reflects with phase 0
    unmodulated: float = 0.02  # share of the power that ignores the cells: reflected at the glass, wrong polarisation
    cross_talk: float = 0.0  # share of a cell's phase that each of its four neighbours takes from it
    # Scatterer
    scatterer: Literal["gaussian", "fibre", "structured", "fourier_mask"] = "gaussian"
    geometry_seed: int = 1
    mode_groups: int = 16  # of the fibre: G groups have G (G + 1) / 2 modes
    structured_layers: int = 3
    memory_mb: float = 1024.0  # for the matrix, and for steps of its drift; a larger one is drawn anew for each batch
    reference: float = 0.0  # amplitude of the reference arm, in units of the rms speckle; 0: none
    reference_tilt: tuple[float, float] = (0.25, 0.25)  # its fringes along rows and columns, in cycles a pixel
    drift_eps: float = 0.0  # T(t + 1) = sqrt(1 - eps^2) T(t) + eps N, per shot
    fibre_bends_at_shot: int | None = None
    fibre_bend_correlation: float = 0.5  # of the speckle before and after
    # Camera
    camera_shape: tuple[int, int] = (26, 26)
    pool_size: int = 1  # an output is the mean over so many pixels along each side
    pool_stride: int = 1
    pool_padding: int = 0  # pixels around the frame that count as 0
    readout: Literal["intensity", "amplitude"] = "intensity"
    electrons_per_s: float = 1e6  # of a pixel at the mean of the speckle; reference arm included
    exposure_s: float = 1e-3
    full_well_e: float = 10_000.0
    read_noise_e: float = 2.5
    dark_e_s: float = 10.0
    hot_pixels: float = 0.001  # share of all
    hot_e_s: float = 1e6
    bits: int = 12
    offset_counts: int = 64  # what no electron reads

    def __post_init__(self) -> None:
        whole = {
            "levels": (2, 65536), "input_cells": (1, 4096), "mode_groups": (1, 64), "structured_layers": (1, 8),
            "pool_size": (1, 1024), "pool_stride": (1, 1024), "pool_padding": (0, self.pool_size - 1), "bits": (1, 16),
            "offset_counts": (0, 2**self.bits - 2),
        }  # fmt: skip
        shares = ("unmodulated", "hot_pixels", "fibre_bend_correlation")
        bounds: dict[str, tuple[float, float]] = {
            **whole, **dict.fromkeys(shares, (0.0, 1.0)), "cross_talk": (0.0, 0.25), "drift_eps": (0.0, 0.999),
            "phase_range_rad": (0.0, 1000.0), "reference": (0.0, 1000.0), "read_noise_e": (0.0, 1e6),
            "dark_e_s": (0.0, 1e9), "hot_e_s": (0.0, 1e12), "memory_mb": (0.0, 1e9),
        }  # fmt: skip
        choices = {
            "modulation": ("phase", "amplitude"), "readout": ("intensity", "amplitude"),
            "scatterer": ("gaussian", "fibre", "structured", "fourier_mask"),
        }  # fmt: skip
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                self._refuse(name, f"asked {name} {getattr(self, name)!r}, allowed {', '.join(allowed)}")
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                self._refuse(name, f"asked {name} {getattr(self, name):g}, allowed {low:g} to {high:g}")
        for name in ("fill_factor", "electrons_per_s", "exposure_s", "full_well_e"):
            if not getattr(self, name) > 0:
                self._refuse(name, f"asked {name} {getattr(self, name):g}, it must be above 0")
        if self.fill_factor > 1:
            self._refuse("fill_factor", f"asked fill_factor {self.fill_factor:g}, allowed above 0 to 1")
        for name in ("slm_shape", "camera_shape"):
            if len(getattr(self, name)) != 2 or min(getattr(self, name)) < 1:
                self._refuse(
                    name, f"asked {name} {getattr(self, name)}, it must be rows and columns, 1 or more of each"
                )
        self._check_shapes()

    def _check_shapes(self) -> None:
        top, left, rows, columns = self.region
        if min(top, left) < 0 or min(rows, columns) < 1 or self._beyond(top + rows, left + columns):
            text = f"input_region {list(self.region)} does not lie within the modulator's {self.slm_shape} cells"
            self._refuse("input_region", text)
        if min(self.output_shape) < 1:
            text = f"pool_size {self.pool_size} is larger than the camera's {self.camera_shape} pixels"
            self._refuse("pool_size", text)
        if self.scatterer == "fourier_mask" and self.slm_shape != self.camera_shape:
            text = f"needs slm_shape and camera_shape alike, got {self.slm_shape} and {self.camera_shape}"
            self._refuse("scatterer", f"scatterer 'fourier_mask' {text}")

    def _beyond(self, row: int, column: int) -> bool:
        return row > self.slm_shape[0] or column > self.slm_shape[1]

    def _refuse(self, key: str, text: str) -> None:
        raise InputError(f"optical world: {text}; set rig.world.{key}")

    @classmethod
    def published(cls, **changes: Any) -> OpticalParameters:
        """The model that PhyLL was published with (Momeni et al., Science 382:1297, 2023): 26 x 26 inputs.

        Each drives 2 x 2 cells of an image of 51 x 51, taken as amplitudes; Fourier transform, mask, complex matrix,
        inverse transform; moduli, averaged over 3 x 3 pixels with a stride of 2. Its camera was ideal, ours stays.
        """
        model = {
            "slm_shape": (51, 51), "input_cells": 2, "modulation": "amplitude", "fill_factor": 1.0, "unmodulated": 0.0,
            "scatterer": "fourier_mask", "camera_shape": (51, 51), "pool_size": 3, "pool_stride": 2, "pool_padding": 1,
            "readout": "amplitude",
        }  # fmt: skip
        return cls(**{**model, **changes})

    @property
    def cells(self) -> int:
        return self.slm_shape[0] * self.slm_shape[1]

    @property
    def width(self) -> int:
        """The cells, and idle ones up to a multiple of 16."""
        return rounded_up(self.cells)

    @property
    def pixels(self) -> int:
        """Of the camera."""
        return self.camera_shape[0] * self.camera_shape[1]

    @property
    def region(self) -> tuple[int, int, int, int]:
        """Top, left, rows and columns of the cells that inputs drive."""
        return self.input_region or (0, 0, *self.slm_shape)

    @property
    def input_shape(self) -> tuple[int, int]:
        """Rows and columns of inputs."""
        _, _, rows, columns = self.region
        return -(-rows // self.input_cells), -(-columns // self.input_cells)

    @property
    def output_shape(self) -> tuple[int, int]:
        """Rows and columns of outputs."""
        around = 2 * self.pool_padding - self.pool_size
        rows, columns = self.camera_shape
        return (rows + around) // self.pool_stride + 1, (columns + around) // self.pool_stride + 1

    @property
    def top_count(self) -> int:
        """What a full well reads, and everything above it."""
        return int(2**self.bits) - 1

    @property
    def counts_per_e(self) -> float:
        return (self.top_count - self.offset_counts) / self.full_well_e


def rounded_up(count: int) -> int:
    """To a multiple of 16, where OpenBLAS cuts the sums of a product at the same places for any number of threads."""
    return -(-count // 16) * 16
