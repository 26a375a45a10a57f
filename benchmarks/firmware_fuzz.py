"""Does the latched board's firmware survive anything on its serial line, and believe no pattern that was not sent?

    nice -n 19 python benchmarks/firmware_fuzz.py --seconds 600

The parser and the commands of the reference firmware (drivers/metasurface/firmware/latched_board) are compiled for
this computer with the address and undefined behaviour sanitizers, for two boards: 16 x 16 elements of 1 bit, and
3 x 5 elements of 3 bits, whose patterns end within a byte, with a chain that can be read. tests/firmware/fuzz.c
makes and mutates streams of frames, guided by the branches that they reach, and looks at every pattern and every
answer with code of its own. Coverage is counted in a short run of a build without sanitizers.

Bar: the whole time without a crash, a wrong pattern or a board that is not in step again after the longest frame.
Exit status 1 if it is missed, 2 where there is no C compiler.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SKETCH = ROOT / "drivers" / "metasurface" / "firmware" / "latched_board"
FUZZ = ROOT / "tests" / "firmware" / "fuzz.c"
BOARDS = {
    "16 x 16 x 1 bit": {"ROWS": 16, "COLUMNS": 16, "BITS": 1, "SEQUENCE": 24, "CHAIN_RETURNS": 0},
    "3 x 5 x 3 bits": {"ROWS": 3, "COLUMNS": 5, "BITS": 3, "SEQUENCE": 3, "CHAIN_RETURNS": 1},
}
SANITIZED = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
COVERAGE_S = 5.0


def compiled(compiler: str, board: str, folder: Path, *, coverage: bool = False) -> Path:
    """The fuzzer for a board, or its twin that counts coverage."""
    defines = [f"-DBOARD_{name}={value}" for name, value in BOARDS[board].items()]
    flags = ["-g", "-Wall", "-Wextra", "-Werror", f"-I{SKETCH}", *defines]
    objects = []
    for name in ("board", "frame_parser"):
        objects.append(folder / f"{name}.o")
        guided = [*(["--coverage"] if coverage else SANITIZED), "-fsanitize-coverage=trace-pc"]
        source = ["-std=c99", "-c", SKETCH / f"{name}.c", "-o", objects[-1]]
        subprocess.run([compiler, *flags, *guided, *source], check=True)
    program = folder / "fuzz"
    linked = ["--coverage"] if coverage else SANITIZED
    subprocess.run([compiler, "-std=gnu99", *flags, *linked, FUZZ, *objects, "-o", program], check=True)
    return program


def fuzz(program: Path, seconds: float, seed: int) -> dict[str, Any]:
    """Counts of a run, and what went wrong in it, or nothing."""
    done = subprocess.run([program, str(seconds), str(seed)], capture_output=True, text=True, check=False)
    last = (done.stdout.splitlines() or [""])[-1]
    counts = {name: int(value) for name, value in re.findall(r"(\w+) (\d+)", last)} if done.returncode == 0 else {}
    return counts | {"wrong": "" if done.returncode == 0 else (done.stdout + done.stderr).strip() or "it was killed"}


def covered(folder: Path) -> dict[str, float]:
    """Shares of lines and of branches, each way of them, that a run of the twin in this folder has taken."""
    if shutil.which("gcov") is None:
        return {}
    options = ["-b", "-n", *(str(data) for data in folder.glob("*.gcda"))]
    told = subprocess.run(["gcov", *options], capture_output=True, text=True, check=True, cwd=folder).stdout
    shares = {}
    for what, form in (("lines", r"Lines executed"), ("branches", r"Taken at least once")):
        # One block a file of the firmware: its name, then its figures.
        found = re.findall(rf"File '[^']*(?:board|frame_parser)\.c'\n(?:.*\n)*?{form}:([\d.]+)% of (\d+)", told)
        whole = sum(int(of) for _, of in found)
        if whole:
            shares[what] = sum(float(share) * int(of) for share, of in found) / (100 * whole)
    return shares


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0, help="of fuzzing, both boards together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        print("no C compiler (gcc or clang) on this computer", file=sys.stderr)
        return 2
    report: dict[str, dict[str, Any]] = {}
    for board in BOARDS:
        with tempfile.TemporaryDirectory() as folder:
            found = fuzz(compiled(compiler, board, Path(folder)), options.seconds / len(BOARDS), options.seed)
        with tempfile.TemporaryDirectory() as folder:
            twin = compiled(compiler, board, Path(folder), coverage=True)
            fuzz(twin, min(COVERAGE_S, options.seconds), options.seed)
            report[board] = found | {"covered": covered(Path(folder))}
    wrong = {board: found["wrong"] for board, found in report.items() if found["wrong"]}
    if options.json:
        print(json.dumps(report))
    else:
        show_all(report, options.seconds)
        for board, told in wrong.items():
            print(f"{board}: {told}")
        print("FAILED" if wrong else f"passed: {options.seconds:g} s without a crash or a pattern that was not sent")
    return 1 if wrong else 0


def show_all(report: dict[str, dict[str, Any]], seconds: float) -> None:
    from common import show

    show(
        f"latched board: {seconds:g} s of fuzzing",
        ("board", "streams", "MB", "answers", "patterns", "corpus", "edges", "lines", "branches"),
        (
            (
                board,
                *(f"{found.get(name, 0):,}" for name in ("streams",)),
                f"{found.get('bytes', 0) / 1e6:,.0f}",
                *(f"{found.get(name, 0):,}" for name in ("answers", "patterns", "corpus", "edges")),
                *(f"{100 * found['covered'][name]:.1f} %" if name in found["covered"] else "-"
                  for name in ("lines", "branches")),
            )
            for board, found in report.items()
        ),
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
