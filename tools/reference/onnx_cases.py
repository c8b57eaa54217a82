"""Packs the node cases of the ONNX project (onnx.backend.test, Apache-2.0) into one file for the import's test.

    python tools/reference/onnx_cases.py [OUT] [--all]

A gzip of: the length of a header in 4 bytes (little-endian), the header in JSON, and the bytes that it points into by
[offset, length]: each case's model, and the inputs and outputs of its data sets, as serialised protocol buffers.

Without --all, what no program can be given is left out: other domains, element types that JavaScript has no arrays for,
sequences as inputs, text and pictures; so are ops that came after opset 21 and big arrays.
"""

import gzip
import json
import re
import sys
from pathlib import Path

from onnx import TensorProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases


def serialise(value, info):
    if hasattr(value, "SerializeToString"):
        return value.SerializeToString()
    kind = info.type.WhichOneof("value")
    make = {
        "sequence_type": numpy_helper.from_list,
        "optional_type": numpy_helper.from_optional,
        "tensor_type": numpy_helper.from_array,
    }[kind]
    return make(value, info.name).SerializeToString()


DEFAULT = Path(__file__).resolve().parents[2] / "src/graph/onnx/testdata/node-cases.gz"
TYPES = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BOOL} | {
    getattr(TensorProto, f"{u}INT{bits}") for u in ("", "U") for bits in (8, 16, 32, 64)
}
NEWER = re.compile("SwiGLU|LinearAttention|CausalConvWithState|BitCast|TensorScatter|StringConcat|StringSplit|RegexFullMatch")
OTHER = re.compile("ImageDecoder|TfIdfVectorizer|StringNormalizer")
LARGEST = 30_000


def in_scope(case):
    model = case.model
    if any(o.domain not in ("", "ai.onnx") for o in model.opset_import):
        return False
    values = [*model.graph.input, *model.graph.output]
    if any(v.type.tensor_type.elem_type not in TYPES for v in values):
        return False
    ops = " ".join(n.op_type for n in model.graph.node)
    size = sum(getattr(v, "nbytes", 0) for inputs, outputs in case.data_sets for v in (*inputs, *outputs))
    return not NEWER.search(ops) and not OTHER.search(ops) and size <= LARGEST


def pack(out, cases):
    """Writes cases whose models, inputs and outputs are serialised."""
    blob = bytearray()
    seen = {}

    def put(data):
        if data not in seen:
            seen[data] = [len(blob), len(data)]
            blob.extend(data)
        return seen[data]

    packed = [
        c | {"model": put(c["model"]), "sets": [{k: [put(v) for v in values] for k, values in s.items()} for s in c["sets"]]}
        for c in cases
    ]
    header = json.dumps(packed, separators=(",", ":")).encode()
    whole = len(header).to_bytes(4, "little") + header + bytes(blob)
    with open(out, "wb") as f:
        f.write(gzip.compress(whole, 9, mtime=0))
    print(len(packed), "cases,", len(whole), "bytes")


def node_case(case):
    graph = case.model.graph
    sets = [
        {
            "inputs": [serialise(v, i) for v, i in zip(inputs, graph.input)],
            "outputs": [serialise(v, o) for v, o in zip(outputs, graph.output)],
        }
        for inputs, outputs in case.data_sets
    ]
    name = case.name.removeprefix("test_")
    return {"name": name, "rtol": case.rtol, "atol": case.atol, "model": case.model.SerializeToString(), "sets": sets}


def main():
    everything = "--all" in sys.argv
    out = next((a for a in sys.argv[1:] if not a.startswith("-")), DEFAULT)
    cases = sorted(collect_testcases(None), key=lambda c: c.name)
    pack(out, [node_case(c) for c in cases if everything or in_scope(c)])


if __name__ == "__main__":
    main()
