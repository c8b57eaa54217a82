"""The process that runs PyTorch's side of a benchmark.

Told {script, settings, dir, threads, cuda, compile} as JSON, it builds the model of SCRIPT.py from the weights in `dir`, then
answers each line on stdin with a line of JSON: `step` runs one step, `results` writes what both sides must agree on,
`reset` and `memory` measure the peak of resident memory.
"""

import importlib
import json
import resource
import sys
import time

import torch
from safetensors.torch import load_file, save_file


def status(key, otherwise):
    try:
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))
    except OSError:
        return otherwise()


def peak():
    unit = 1 if sys.platform == "darwin" else 1024
    return status("VmHWM", lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def reset_peak():
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass  # only Linux has it


def say(**answer):
    print(json.dumps(answer), flush=True)


told = json.loads(sys.argv[1])
torch.manual_seed(0)
torch.set_num_threads(told["threads"])
device = "cuda" if told["cuda"] else "cpu"
torch.set_default_device(device)
torch.backends.cudnn.allow_tf32 = False  # products on both sides are float32
script = importlib.import_module(told["script"])
batch = load_file(told["dir"] + "/batch.safetensors", device=device)
baseline = status("VmRSS", peak)
start = time.perf_counter()
weights = load_file(told["dir"] + "/weights.safetensors", device=device)
wrap = torch.compile if told["compile"] else lambda f: f
step, results = script.build(weights, batch, wrap, **told["settings"])
del weights
say(version=torch.__version__, buildMs=(time.perf_counter() - start) * 1000)

for line in sys.stdin:
    command = line.strip()
    if command == "step":
        begin = time.perf_counter()
        loss = step()
        say(ms=(time.perf_counter() - begin) * 1000, loss=loss)
    elif command == "results":
        save_file({k: v.detach().contiguous().clone() for k, v in results().items()}, told["dir"] + "/torch.safetensors")
        say()
    elif command == "reset":
        reset_peak()
        say()
    elif command == "memory":
        say(bytes=peak() - baseline)
