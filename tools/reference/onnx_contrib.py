"""Cases of com.microsoft's ops with what ONNX Runtime makes of them, in the form of onnx_cases.py.

    python tools/reference/onnx_contrib.py
"""

from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx_cases import pack

OUT = Path(__file__).resolve().parents[2] / "src/graph/onnx/testdata/contrib-cases.gz"
r = np.random.default_rng(0)


def f(*shape):
    return r.standard_normal(shape).astype(np.float32)


def i32(*values):
    return np.array(values, np.int32)


TYPES = {np.dtype(t): getattr(TensorProto, n) for t, n in [(np.float32, "FLOAT"), (np.int32, "INT32"), (np.int64, "INT64"), (np.uint8, "UINT8"), (np.int8, "INT8")]}


def case(name, op, inputs, outputs=1, domain="com.microsoft", constants=(), kept=None, **attrs):
    """`inputs` are arrays, None where one is left out; those at `constants` are initializers."""
    names = [f"x{i}" if v is not None else "" for i, v in enumerate(inputs)]
    fed = [i for i, v in enumerate(inputs) if v is not None and i not in constants]
    outs = [f"y{i}" for i in range(outputs)]
    shown = outs if kept is None else [outs[i] for i in kept]
    node = helper.make_node(op, names, [o if o in shown else "" for o in outs], domain=domain, **attrs)
    graph = helper.make_graph(
        [node],
        name,
        [helper.make_tensor_value_info(names[i], TYPES[inputs[i].dtype], inputs[i].shape) for i in fed],
        [helper.make_tensor_value_info(o, 0, None) for o in shown],
        [numpy_helper.from_array(inputs[i], names[i]) for i in constants],
    )
    # The types of outputs are ONNX Runtime's to say.
    for o in graph.output:
        o.ClearField("type")
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    want = session.run(None, {names[i]: inputs[i] for i in fed})
    return {
        "name": name,
        "rtol": 1e-4,
        "atol": 1e-5,
        "model": model.SerializeToString(),
        "sets": [
            {
                "inputs": [numpy_helper.from_array(inputs[i]).SerializeToString() for i in fed],
                "outputs": [numpy_helper.from_array(v).SerializeToString() for v in want],
            }
        ],
    }


x = f(2, 4, 8)
mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], np.int32)
angles = f(6, 2)
rotary = [np.cos(angles), np.sin(angles)]
places = np.array([[0, 1, 2, 3], [2, 3, 4, 5]], np.int64)
cases = [
    case("gelu", "Gelu", [x]),
    case("quick_gelu", "QuickGelu", [x], alpha=1.3),
    case("fast_gelu", "FastGelu", [x]),
    case("fast_gelu_bias", "FastGelu", [x, f(8)]),
    case("bias_gelu", "BiasGelu", [x, f(8)]),
    case("fused_matmul", "FusedMatMul", [f(2, 4, 3), f(2, 4, 5)], transA=1, alpha=0.5),
    case("fused_matmul_b", "FusedMatMul", [f(2, 3, 4), f(5, 4)], transB=1),
    case("fused_conv", "FusedConv", [f(1, 2, 5, 5), f(3, 2, 3, 3), f(3)], activation="Relu", pads=[1, 1, 1, 1]),
    case("fused_gemm", "FusedGemm", [f(2, 3), f(4, 3), f(4)], transB=1, activation="LeakyRelu", activation_alpha=0.1),
    case("skip_layer_norm", "SkipLayerNormalization", [x, f(2, 4, 8), f(8), f(8), f(8)], 4, kept=[0, 3], epsilon=1e-5),
    case("skip_layer_norm_broadcast", "SkipLayerNormalization", [x, f(1, 4, 8), f(8)], epsilon=1e-5),
    case("skip_rms_norm", "SkipSimplifiedLayerNormalization", [x, f(2, 4, 8), f(8), f(8)], 4, kept=[0, 3], epsilon=1e-5),
    case("rms_norm", "SimplifiedLayerNormalization", [x, f(8)], domain="", epsilon=1e-5, axis=-1),
    case("embed_layer_norm", "EmbedLayerNormalization", [i32([1, 2, 3], [0, 4, 4]), i32([0, 0, 1], [1, 1, 0]), f(5, 8), f(6, 8), f(2, 8), f(8), f(8), i32([1, 1, 1], [1, 1, 0])], 3, epsilon=1e-5),
    case("embed_layer_norm_positions", "EmbedLayerNormalization", [i32([1, 2, 3], [0, 4, 4]), None, f(5, 8), f(6, 8), None, f(8), f(8), None, i32([2, 1, 0], [3, 4, 5])], 2, epsilon=1e-5),
    case("attention", "Attention", [x, f(8, 24), f(24)], num_heads=2),
    case("attention_mask", "Attention", [x, f(8, 24), f(24), mask], num_heads=2),
    case("attention_lengths", "Attention", [x, f(8, 24), f(24), i32(4, 2)], num_heads=2),
    case("attention_causal", "Attention", [x, f(8, 24), f(24)], num_heads=2, unidirectional=1),
    case("attention_past", "Attention", [x, f(8, 24), f(24), None, f(2, 2, 2, 3, 4)], 2, num_heads=2, unidirectional=1),
    case("attention_bias", "Attention", [x, f(8, 24), f(24), None, None, f(2, 2, 4, 4)], num_heads=2, scale=0.3),
    case("attention_sizes", "Attention", [x, f(8, 20), f(20)], num_heads=2, qkv_hidden_sizes=[8, 8, 4]),
    case("multi_head", "MultiHeadAttention", [x, f(2, 5, 8), f(2, 5, 8)], num_heads=2),
    case("multi_head_bias", "MultiHeadAttention", [x, f(2, 4, 8), f(2, 4, 8), f(24)], num_heads=2),
    case("multi_head_mask", "MultiHeadAttention", [x, f(2, 4, 8), f(2, 4, 8), None, mask], num_heads=2),
    case("multi_head_extra", "MultiHeadAttention", [x, f(2, 5, 8), f(2, 5, 8), None, None, f(1, 2, 4, 5)], num_heads=2),
    case("multi_head_cross", "MultiHeadAttention", [x, f(2, 2, 5, 4), f(2, 2, 5, 4)], num_heads=2),
    case("multi_head_past", "MultiHeadAttention", [x, f(2, 4, 8), f(2, 4, 8), None, None, None, f(2, 2, 3, 4), f(2, 2, 3, 4)], 3, num_heads=2, unidirectional=1),
    case("grouped", "GroupQueryAttention", [f(2, 4, 32), f(2, 4, 16), f(2, 4, 16), None, None, i32(3, 3), i32(4)], 3, constants=[5, 6], num_heads=4, kv_num_heads=2),
    case("grouped_packed_rotary", "GroupQueryAttention", [f(2, 4, 128), None, None, None, None, i32(3, 3), i32(4), np.cos(f(6, 8)), np.sin(f(6, 8))], 3, constants=[5, 6], num_heads=4, kv_num_heads=2, do_rotary=1),
    case("grouped_local", "GroupQueryAttention", [f(1, 6, 32), f(1, 6, 16), f(1, 6, 16), None, None, i32(5), i32(6)], 3, constants=[5, 6], num_heads=4, kv_num_heads=2, local_window_size=2),
    case("grouped_softcap", "GroupQueryAttention", [f(1, 4, 32), f(1, 4, 16), f(1, 4, 16), None, None, i32(3), i32(4)], 3, constants=[5, 6], num_heads=4, kv_num_heads=2, softcap=1.5, scale=0.7),
    case("rotary", "RotaryEmbedding", [f(2, 4, 8), places, *rotary]),
    case("rotary_heads", "RotaryEmbedding", [f(2, 3, 4, 4), places, *rotary], interleaved=1),
    case("rotary_offset", "RotaryEmbedding", [f(2, 4, 8), np.array([1], np.int64), *rotary]),
    case("rotary_part", "RotaryEmbedding", [f(2, 4, 12), places, *rotary], num_heads=2, rotary_embedding_dim=4),
]


def bits(name, k, n, block, zero, **attrs):
    blocks = (k + block - 1) // block
    inputs = [f(3, k), r.integers(0, 256, (n, blocks, block // 2), np.uint8), f(n * blocks)]
    if zero == "packed":
        inputs.append(r.integers(0, 256, n * ((blocks + 1) // 2), np.uint8))
    return case(name, "MatMulNBits", inputs, constants=range(1, len(inputs)), K=k, N=n, bits=4, block_size=block, **attrs)


cases += [
    bits("four_bits", 32, 5, 16, None),
    bits("four_bits_rest", 40, 5, 16, None),
    bits("four_bits_zero", 48, 5, 16, "packed"),
    case("eight_bits", "MatMulNBits", [f(3, 32), r.integers(0, 256, (5, 2, 16), np.uint8), f(10)], constants=[1, 2], K=32, N=5, bits=8, block_size=16),
    case("gather_four_bits", "GatherBlockQuantized", [r.integers(0, 256, (6, 16), np.uint8), np.array([[1, 5], [0, 2]], np.int64), f(6, 2)], constants=[0, 2], block_size=16, bits=4, gather_axis=0, quantize_axis=1),
    case("dynamic_matmul", "DynamicQuantizeMatMul", [f(3, 8), r.integers(-100, 100, (8, 5), np.int8), np.array([0.02], np.float32), np.array([3], np.int8), f(5)], constants=[1, 2, 3]),
    case("integer_to_float", "MatMulIntegerToFloat", [r.integers(0, 256, (3, 8), np.uint8), r.integers(-100, 100, (8, 5), np.int8), np.array(0.1, np.float32), np.array(0.02, np.float32), np.array(120, np.uint8), np.array(3, np.int8), f(5)], constants=[1]),
]
pack(OUT, cases)
