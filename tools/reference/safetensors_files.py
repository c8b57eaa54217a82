"""Small files written by Python's safetensors for src/hub/safetensors.test.ts, which must read them and write the same.

    python tools/reference/safetensors_files.py
"""

from pathlib import Path

import torch
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parents[2] / "src/hub/testdata/safetensors"


def main():
    HERE.mkdir(parents=True, exist_ok=True)
    values = torch.tensor([-2.5, 0.0, 1.0 / 3.0, 65504.0, float("inf"), float("nan")])
    tensors = {
        "f64": values.double().reshape(2, 3),
        "f32": values.reshape(3, 2, 1),
        "f16": values.half(),
        "bf16": values.bfloat16().reshape(1, 6),
        "i64": torch.tensor([-(2**62), 0, 2**62]),
        "i32": torch.tensor([[-(2**31)], [2**31 - 1]], dtype=torch.int32),
        "i8": torch.tensor([-128, 0, 127], dtype=torch.int8),
        "u8": torch.tensor([0, 255, 7, 8, 9], dtype=torch.uint8),
        "bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(0.5),
        "empty": torch.zeros(0, 4),
        'odd "näme" 😀': torch.ones(1),
    }
    save_file(tensors, HERE / "python.safetensors", metadata={"format": "pt"})


main()
