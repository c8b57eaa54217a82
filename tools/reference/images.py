"""Golden files for src/data: decoding, resampling and CLIP preprocessing as Pillow and transformers do them.

    python tools/reference/images.py        # needs pillow, numpy, torch and transformers

Writes small images in many formats and golden.json (base64 bytes) to src/data/testdata.
"""

import base64
import importlib.util
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image

# The Pillow processor needs no torchvision; a build that does not fit the installed torch would stop the import.
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name.startswith("torchvision") else find_spec(name, *rest)

from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

out = Path(__file__).parents[2] / "src/data/testdata"
out.mkdir(exist_ok=True)
b64 = lambda a: base64.b64encode(np.ascontiguousarray(a).tobytes()).decode()


def noise(width: int, height: int) -> np.ndarray:
    """The picture that the tests make too: a linear congruential generator, high byte."""
    state = width * 1000 + height
    values = np.empty(width * height * 3, np.uint8)
    for i in range(values.size):
        state = (state * 1664525 + 1013904223) % 2**32
        values[i] = state >> 24
    return values.reshape(height, width, 3)


def smooth(width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), (x + y) * 255 // (width + height - 2)], -1).astype(np.uint8)


def png16(array: np.ndarray) -> bytes:
    """A 16-bit PNG; Pillow cannot write the RGB kind."""
    height, width = array.shape[:2]
    colour = 2 if array.ndim == 3 else 0
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


picture = Image.fromarray(smooth(23, 17))
alpha = Image.fromarray(noise(23, 17)[..., 0])
rgba = picture.copy()
rgba.putalpha(alpha)
palette = picture.quantize(16)
exif = Image.Exif()
exif[0x0112] = 6
files = {
    "rgb.png": lambda f: picture.save(f, "PNG"),
    "rgba.png": lambda f: rgba.save(f, "PNG"),
    "grey.png": lambda f: picture.convert("L").save(f, "PNG"),
    "grey-alpha.png": lambda f: rgba.convert("LA").save(f, "PNG"),
    "bits.png": lambda f: picture.convert("1").save(f, "PNG"),
    "palette.png": lambda f: palette.save(f, "PNG"),
    "palette-transparent.png": lambda f: palette.save(f, "PNG", transparency=3),
    "rgb16.png": lambda f: f.write(png16(smooth(23, 17).astype(np.uint16) * 257)),
    "grey16.png": lambda f: f.write(png16(smooth(23, 17)[..., 0].astype(np.uint16) * 257)),
    "photo.jpg": lambda f: picture.save(f, "JPEG", quality=90),
    "photo444.jpg": lambda f: picture.save(f, "JPEG", quality=95, subsampling=0),
    "progressive.jpg": lambda f: picture.save(f, "JPEG", quality=85, progressive=True),
    "grey.jpg": lambda f: picture.convert("L").save(f, "JPEG", quality=90),
    "cmyk.jpg": lambda f: picture.convert("CMYK").save(f, "JPEG", quality=95),
    "rotated.jpg": lambda f: picture.save(f, "JPEG", quality=90, exif=exif),
    "lossless.webp": lambda f: picture.save(f, "WEBP", lossless=True),
    "lossy.webp": lambda f: picture.save(f, "WEBP", quality=80),
    "animated.gif": lambda f: palette.save(f, "GIF", save_all=True, append_images=[palette.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]),
}
golden = {"decode": {}, "resize": [], "torch": [], "clip": []}
for name, write in files.items():
    with open(out / name, "wb") as f:
        write(f)
    with Image.open(out / name) as image:
        # I;16 does not convert to RGB in Pillow: the eight high bits, as it does for 16-bit colour
        raw = np.asarray(image) >> 8 if image.mode.startswith("I") else None
        rgb = Image.fromarray(raw.astype(np.uint8)).convert("RGB") if raw is not None else image.convert("RGB")
        golden["decode"][name] = {"size": rgb.size, "rgb": b64(np.asarray(rgb))}

for source, target, filters in [
    ((23, 17), (8, 8), range(6)),
    ((9, 7), (31, 20), range(6)),
    ((40, 5), (40, 9), [2, 3]),
    ((5, 40), (3, 40), [2, 3]),
    ((1, 50), (6, 11), [1, 3]),
    ((64, 64), (13, 7), [0, 3]),
]:
    image = Image.fromarray(noise(*source))
    for resample in filters:
        golden["resize"].append({"from": source, "to": target, "resample": resample, "rgb": b64(image.resize(target, resample))})
for source, target in [((23, 17), (8, 8)), ((64, 48), (16, 12)), ((9, 7), (31, 20))]:
    # what torchvision's resize calls on a CPU for 8-bit images
    x = torch.from_numpy(noise(*source)).permute(2, 0, 1)[None].contiguous(memory_format=torch.channels_last)
    for mode, resample in [("bicubic", 3), ("bilinear", 2)]:
        y = torch.nn.functional.interpolate(x, size=target[::-1], mode=mode, antialias=True)
        golden["torch"].append({"from": source, "to": target, "resample": resample, "rgb": b64(y[0].permute(1, 2, 0).numpy())})

configs = {
    "clip": {"size": {"shortest_edge": 8}, "crop_size": {"height": 8, "width": 8}},
    "old integers": {"size": 8, "crop_size": 7},
    "square": {"size": {"height": 6, "width": 9}, "resample": 2, "do_center_crop": False},
    "longest": {"size": {"shortest_edge": 8, "longest_edge": 10}, "do_center_crop": False},
    "maximum": {"size": {"max_height": 9, "max_width": 12}, "do_center_crop": False, "resample": 1},
    "pads": {"size": {"shortest_edge": 6}, "crop_size": {"height": 9, "width": 8}},
    "no resize": {"do_resize": False, "crop_size": {"height": 10, "width": 10}},
    "no rescale": {"size": {"shortest_edge": 8}, "crop_size": 8, "do_rescale": False, "do_normalize": False},
    "no normalize": {"size": {"shortest_edge": 8}, "crop_size": 8, "do_normalize": False},
    "imagenet": {"size": {"shortest_edge": 8}, "crop_size": 8, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 2},
}
for name, config in configs.items():
    processor = CLIPImageProcessorPil(**config)
    for size in [(23, 17), (7, 30), (8, 8), (1, 25), (5, 3)]:
        if name in ("longest", "maximum") and size == (1, 25):
            continue  # a side of 0 pixels
        image = Image.fromarray(noise(*size))
        values = np.asarray(processor(image, return_tensors="np")["pixel_values"][0])
        golden["clip"].append({"name": name, "config": config, "from": size, "shape": values.shape, "values": b64(values.astype(np.float32))})

(out / "golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
