"""Small MATLAB files in the layout of SVHN for src/data/planes.test.ts: two and one images, labels 10 and 3, and 7.

The value of a pixel is (7 · row + 3 · column + 50 · channel + image) mod 256.

    python tools/reference/mat.py        # needs scipy
"""

from pathlib import Path

import numpy as np
from scipy.io import savemat

OUT = Path(__file__).resolve().parents[2] / "src/data/testdata/svhn"


def write(name, labels, **options):
    row, column, channel, image = np.indices((32, 32, 3, len(labels)))
    pixels = ((7 * row + 3 * column + 50 * channel + image) % 256).astype(np.uint8)
    # A cell array comes first, as other variables may.
    arrays = {"notes": np.array(["made", "here"], dtype=object), "X": pixels, "y": np.array(labels)[:, None]}
    savemat(OUT / name, arrays, **options)


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    write("train_32x32.mat", np.array([10, 3], dtype=np.uint8), do_compression=True)
    write("test_32x32.mat", np.array([7.0]), do_compression=False)
