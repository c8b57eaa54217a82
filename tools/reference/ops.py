"""Golden values and gradients of torch.nn.functional for the tests in src/graph and src/nn.

Writes src/graph/testdata/ops.json and src/nn/testdata/functional.json. Each case holds its inputs, the output y, the
gradients g of Σ y·cos(0, 1, 2, …) and, where the function is curved, the gradients of Σ g·cos(0, 1, 2, …).

    python tools/reference/ops.py
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

SOURCE = Path(__file__).resolve().parents[2] / "src"
torch.manual_seed(0)


def numbers(t):
    return [float(f"{v:.7g}") if abs(v) < torch.inf else str(v) for v in t.detach().flatten().tolist()]


def project(ts):
    return sum((t * torch.arange(t.numel(), dtype=t.dtype).cos().reshape(t.shape)).sum() for t in ts)


def case(f, *inputs, second=True):
    xs = [t.float().double().requires_grad_() for t in inputs]
    y = f(*xs)
    gs = torch.autograd.grad(project([y]), xs, create_graph=second)
    out = dict(inputs=[dict(shape=list(x.shape), data=numbers(x)) for x in xs], shape=list(y.shape), y=numbers(y))
    out["g"] = [numbers(g) for g in gs]
    if second and project(gs).requires_grad:
        hs = torch.autograd.grad(project(gs), xs, allow_unused=True)
        out["h"] = [numbers(torch.zeros_like(x) if h is None else h) for x, h in zip(xs, hs)]
    return out


r = torch.randn


def ties(*shape):
    """Few different values, so that windows hold equal ones."""
    return torch.randint(-2, 3, shape).float()


def apart(*shape):
    """All values different by at least 0.1."""
    n = torch.Size(shape).numel()
    return ((torch.randperm(n) - n / 2) * 0.1 + 0.03).reshape(shape)


def graph():
    flat = dict(second=False)
    cases = {
        "conv2d": case(lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1, groups=2), r(2, 4, 5, 6), r(6, 2, 3, 3), r(6)),
        "conv1d": case(lambda x, w, b: F.conv1d(x, w, b, dilation=2, padding=2), r(2, 2, 7), r(3, 2, 3), r(3)),
        "convTranspose2d": case(
            lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1, groups=2),
            r(2, 4, 3, 3), r(4, 3, 3, 3), r(6),
        ),
        "convTranspose1d": case(lambda x, w: F.conv_transpose1d(x, w, stride=3, dilation=2), r(1, 2, 4), r(2, 3, 3)),
        "maxPool": case(lambda x: F.max_pool2d(x, 2), apart(2, 2, 4, 5), **flat),
        "maxPool ties": case(lambda x: F.max_pool2d(x, 3, stride=1, padding=1), ties(1, 2, 5, 5), **flat),
        "maxPool ceil": case(
            lambda x: F.max_pool2d(x, 3, stride=2, padding=1, ceil_mode=True), apart(1, 2, 6, 7), **flat
        ),
        "maxPool dilation": case(
            lambda x: F.max_pool2d(x, (2, 3), stride=1, dilation=(2, 1)), apart(1, 1, 5, 5), **flat
        ),
        "maxPool 1d": case(lambda x: F.max_pool1d(x, 3, stride=2), apart(2, 1, 8), **flat),
        "avgPool": case(lambda x: F.avg_pool2d(x, 2), r(2, 2, 4, 5), **flat),
        "avgPool padding": case(lambda x: F.avg_pool2d(x, 3, stride=2, padding=1), r(1, 2, 5, 6), **flat),
        "avgPool without padding": case(
            lambda x: F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False), r(1, 2, 5, 6), **flat
        ),
        "avgPool ceil": case(
            lambda x: F.avg_pool2d(x, 3, stride=2, padding=1, ceil_mode=True), r(1, 2, 6, 7), **flat
        ),
        "avgPool 1d": case(lambda x: F.avg_pool1d(x, 4, stride=3), r(2, 1, 10), **flat),
        "adaptiveAvgPool": case(lambda x: F.adaptive_avg_pool2d(x, (3, 2)), r(1, 2, 7, 6), **flat),
        "adaptiveMaxPool": case(lambda x: F.adaptive_max_pool2d(x, (3, 2)), ties(2, 2, 7, 5), **flat),
        "adaptiveMaxPool even": case(lambda x: F.adaptive_max_pool1d(x, 2), ties(2, 2, 6), **flat),
        "globalMaxPool": case(lambda x: F.adaptive_max_pool2d(x, 1).flatten(1), ties(2, 2, 3, 3), **flat),
        "batchNorm": case(lambda x, s, b: F.batch_norm(x, None, None, s, b, training=True), r(3, 2, 2, 2), r(2), r(2)),
        "batchNorm 1d": case(lambda x: F.batch_norm(x, None, None, training=True, eps=0.1), r(4, 3)),
        "batchNorm running": case(
            lambda x, m, v, s, b: (x - m[:, None]) / (v[:, None] + 1e-5).sqrt() * s[:, None] + b[:, None],
            r(2, 2, 3), r(2), r(2) ** 2 + 0.5, r(2), r(2),
        ),
        "groupNorm": case(lambda x, s, b: F.group_norm(x, 2, s, b), r(2, 4, 3), r(4), r(4)),
        "instanceNorm": case(
            lambda x, s, b: F.instance_norm(x, weight=s, bias=b), r(2, 3, 3, 2), r(3), r(3)
        ),
        "prod": case(lambda x: x.prod(1), torch.cat([r(1, 5), torch.tensor([[1, 0, 2, 3, -1.0]]), ties(2, 5)]), second=False),
        "norm 2": case(lambda x: torch.linalg.vector_norm(x, dim=1), r(2, 3)),
        "norm 3": case(lambda x: torch.linalg.vector_norm(x, 3, dim=0, keepdim=True), r(2, 3)),
        "norm inf": case(lambda x: torch.linalg.vector_norm(x, float("inf"), dim=1), apart(2, 3), **flat),
        "norm 1": case(lambda x: torch.linalg.vector_norm(x, 1, dim=1), apart(2, 3), **flat),
        "cosineSimilarity": case(lambda a, b: F.cosine_similarity(a, b, dim=1), r(2, 3), r(2, 3)),
        "remainder": case(lambda a, b: torch.remainder(a, b), apart(3, 4) * 3, torch.tensor([[1.3], [-0.7], [2.1]]), **flat),
        "variance": case(lambda x: x.var(1), r(2, 4)),
        "triu": case(lambda x: torch.triu(x, 1) * 2 + torch.tril(x, -1), r(2, 3, 4), **flat),
        "roll": case(lambda x: torch.roll(x, -2, 1) ** 2, r(2, 5)),
        "reflect": case(lambda x: F.pad(x, (2, 1, 0, 3), mode="reflect") ** 2, r(1, 1, 4, 3)),
        "edge": case(lambda x: F.pad(x, (2, 1, 0, 3), mode="replicate") ** 2, r(1, 1, 2, 3)),
        "wrap": case(lambda x: F.pad(x, (2, 1, 0, 2), mode="circular") ** 2, r(1, 1, 2, 3)),
        "sort": case(lambda x: x.sort(1, descending=True)[0] ** 2, apart(2, 5)),
        "diagonal": case(lambda x: torch.diagonal(x, dim1=0, dim2=2) ** 2, r(3, 2, 3)),
        "cholesky": case(lambda x: torch.linalg.cholesky(x @ x.mT + torch.eye(4)), r(2, 4, 4)),
        "solveTriangular": case(
            lambda l, b: torch.linalg.solve_triangular(l.tril() + 3 * torch.eye(3), b, upper=False), r(3, 3), r(2, 3, 2)
        ),
        "inverse": case(lambda x: torch.linalg.inv(x + 4 * torch.eye(3)), r(2, 3, 3)),
        "inverse, pivots": case(
            lambda x: torch.linalg.inv(x), torch.tensor([[0, 2, 1.0], [1, 0, 3], [4, 1, 0]])
        ),
        "solve": case(lambda a, b: torch.linalg.solve(a, b), r(3, 3) + 3 * torch.eye(3), r(3, 2)),
    }
    edges = torch.tensor([-6, -3, -2, -1, -0.5, 0, 0.5, 1, 2, 3, 6.0])
    cases |= {
        "clip, bounds": case(lambda x: x.clamp(-2, 1), edges, **flat),
        "clip, tensors": case(lambda x, a, b: x.clamp(a, b), r(5), r(5) - 1, r(5) + 1, **flat),
        "relu6, bounds": case(F.relu6, edges, **flat),
        "hardSigmoid, bounds": case(F.hardsigmoid, edges, **flat),
        "hardSwish, bounds": case(F.hardswish, edges, **flat),
        "elu, at 0": case(F.elu, edges, **flat),
        "celu": case(lambda x: F.celu(x, 0.7), r(6)),
        "hardShrink": case(F.hardshrink, edges, **flat),
        "softShrink": case(F.softshrink, edges, **flat),
        "glu": case(F.glu, r(2, 6)),
        "log1p": case(torch.log1p, torch.tensor([-0.5, -1e-6, 1e-7, 1e-4, 0.1, 3])),
        "expm1": case(torch.expm1, torch.tensor([-3, -1e-6, 1e-7, 1e-4, 0.9, 1.1, 3])),
        "atan2": case(torch.atan2, torch.tensor([1, -1, 0, 0, 2, -2, 3.0]), torch.tensor([0, 0, 1, -1, -2, -3, 4.0])),
        "pow, 0": case(torch.pow, torch.tensor([0, 0, 1, 2.0]), torch.tensor([0, 1, 0, 0.0]), **flat),
        "logSumExp, infinite": case(
            lambda x: x.logsumexp(1), torch.tensor([[-torch.inf, 1, 2], [-torch.inf, -torch.inf, 0]]), **flat
        ),
        "norm 0.5, zeros": case(
            lambda x: torch.linalg.vector_norm(x, 0.5, dim=1), torch.tensor([[0, 0], [0, 3], [1, 2.0]]), **flat
        ),
        "cosineSimilarity, ranks": case(lambda a, b: F.cosine_similarity(a, b, dim=1), r(2, 3, 2), r(3, 2)),
        "cholesky, symmetric gradient": case(torch.linalg.cholesky, torch.tensor([[4, 1, 0], [1, 3, 1], [0, 1, 2.0]])),
        "solveTriangular, upper, unit": case(
            lambda u, b: torch.linalg.solve_triangular(u.triu(), b, upper=True, unitriangular=True), r(3, 3), r(3, 2)
        ),
        "slice, before the start": case(lambda x: torch.cat([x[:, :0], x], 1) ** 2, r(2, 4)),
        "pad, negative": case(lambda x: F.pad(x, (-1, 2, 1, -2)) ** 2, r(3, 4)),
        "convTranspose3d": case(
            lambda x, w: F.conv_transpose3d(x, w, stride=(1, 2, 2), padding=(0, 1, 0)), r(1, 2, 2, 2, 2), r(2, 1, 2, 2, 3)
        ),
        "maxPool, dilation and ceil": case(
            lambda x: F.max_pool2d(x, (4, 3), (1, 3), (2, 1), (2, 3), ceil_mode=True), apart(1, 1, 4, 6), **flat
        ),
        "embedding, padding": case(
            lambda t: F.embedding(torch.tensor([1, 2, 1, 0]), t, padding_idx=1) ** 2, r(3, 2)
        ),
        "scatterReduce max": case(
            lambda x, u: torch.scatter_reduce(x, 0, torch.tensor([[0, 1], [0, 0]]), u, "amax"), ties(3, 2), ties(2, 2), **flat
        ),
        "scatterReduce mean": case(
            lambda x, u: torch.scatter_reduce(x, 0, torch.tensor([[0, 1], [0, 0]]), u, "mean"), r(3, 2), r(2, 2), **flat
        ),
        "rmsNorm, two axes": case(lambda x, s: F.rms_norm(x, (2, 3), s, 1e-5), r(2, 2, 3), r(2, 3)),
        "layerNorm, plain": case(lambda x: F.layer_norm(x, (4,)), r(2, 4)),
        "resize nearest exact": case(lambda x: F.interpolate(x, (7, 3), mode="nearest-exact"), r(1, 2, 5, 4), **flat),
        "gridSample, on the border": case(
            lambda x, g: F.grid_sample(x, g, padding_mode="border", align_corners=True),
            r(1, 1, 3, 3), torch.tensor([[[[-1, -1], [0, 0]], [[1, 1], [-1, 1.0]]]]), **flat
        ),
        "unfold": case(lambda x: F.unfold(x, (2, 3), stride=2, padding=1) ** 2, r(1, 2, 3, 4)),
        "fold": case(lambda x: F.fold(x, (3, 4), (2, 2), dilation=(1, 2)) ** 2, r(1, 4, 4)),
        "pixelShuffle": case(lambda x: F.pixel_shuffle(x, 2) ** 2, r(1, 4, 2, 2)),
        "repeatInterleave": case(lambda x: x.repeat_interleave(2, 1) ** 2, r(2, 3)),
        "quantile": case(lambda x: x.quantile(0.3, 1) ** 2, apart(2, 5)),
        "diagonal, offset": case(lambda x: torch.diagonal(x, -1) ** 2, r(3, 4)),
    }
    for equation, shapes in {
        "bij,bjk->bik": [(2, 3, 4), (2, 4, 2)],
        "ij,kj": [(2, 3), (4, 3)],
        "ii": [(3, 3)],
        "iji->j": [(3, 2, 3)],
        "i,j->ji": [(2,), (3,)],
        "...ij,...j->...i": [(2, 1, 3, 4), (3, 4)],
        "bhqd,bkhd,bhk->qbh": [(2, 2, 3, 2), (2, 4, 2, 2), (2, 2, 4)],
        "ab,ab->": [(2, 3), (2, 3)],
        "abc->ca": [(2, 3, 2)],
        "ij,jk,kl->il": [(2, 3), (3, 2), (2, 4)],
        "...a,a...": [(3, 2), (2, 3)],
    }.items():
        cases[f"einsum {equation}"] = case(lambda *xs, e=equation: torch.einsum(e, *xs), *[r(*s) for s in shapes])
    for name, f in {
        "tan": torch.tan, "asin": torch.asin, "acos": torch.acos, "atan": torch.atan, "sinh": torch.sinh,
        "cosh": torch.cosh, "asinh": torch.asinh, "atanh": torch.atanh,
    }.items():
        cases[name] = case(f, torch.tensor([-0.9, -0.5, 0.1, 0.4, 0.7]))
    cases["acosh"] = case(torch.acosh, torch.tensor([1.1, 1.5, 2, 5.0]))
    for name, f in {
        "silu": F.silu, "mish": F.mish, "logSigmoid": F.logsigmoid, "leakyRelu": lambda x: F.leaky_relu(x, 0.2),
        "elu": lambda x: F.elu(x, 0.7), "selu": F.selu, "hardSigmoid": F.hardsigmoid, "hardSwish": F.hardswish,
        "softsign": F.softsign,
    }.items():
        # torch has no second derivative of some of these; finite differences check those.
        second = name not in ("hardSigmoid", "hardSwish")
        cases[name] = case(f, torch.tensor([-7, -2.9, -1, -0.2, 0.3, 1.5, 2.8, 7.0]), second=second)
    x = (2, 2, 5, 4)
    for name, size, options in [
        ("nearest up", (10, 8), dict(mode="nearest")),
        ("nearest uneven", (7, 3), dict(mode="nearest")),
        ("bilinear up", (8, 9), dict(mode="bilinear")),
        ("bilinear down", (3, 2), dict(mode="bilinear")),
        ("bilinear corners", (7, 3), dict(mode="bilinear", align_corners=True)),
        ("bilinear antialias", (3, 2), dict(mode="bilinear", antialias=True)),
        ("bicubic up", (8, 9), dict(mode="bicubic")),
        ("bicubic corners", (3, 6), dict(mode="bicubic", align_corners=True)),
        ("bicubic antialias", (2, 3), dict(mode="bicubic", antialias=True)),
    ]:
        cases[f"resize {name}"] = case(lambda t, s=size, o=options: F.interpolate(t, s, **o), r(*x), **flat)
    grid = torch.rand(2, 3, 4, 2) * 3 - 1.5
    cases["gelu, wide"] = case(F.gelu, torch.tensor([-60, -14, -5, -1, 0.3, 2, 15, 60.0]))
    for padding in ("zeros", "reflection"):
        f = lambda x, g: F.grid_sample(x, g, "bicubic", padding, False)
        cases[f"gridSample bicubic {padding}"] = case(f, r(1, 2, 4, 3), grid[:1, :2, :2], **flat)
    for mode in ("bilinear", "nearest"):
        for padding in ("zeros", "border", "reflection"):
            for corners in (False, True):
                f = lambda x, g: F.grid_sample(x, g, mode, padding, corners)
                cases[f"gridSample {mode} {padding} {corners}"] = case(f, r(2, 3, 5, 4), grid, **flat)
    return cases


def functional():
    logits, other = 3 * r(4, 5), 3 * r(4, 5)
    target = torch.tensor([0, -100, 2, 2])
    weight = torch.tensor([0.5, 1, 2, 1, 0.3]).double()
    mask = torch.tensor([[True, False, True, True]]).expand(3, 4)
    return {
        "crossEntropy ignored": case(lambda x: F.cross_entropy(x, target), logits),
        "crossEntropy ignored smoothed": case(lambda x: F.cross_entropy(x, target, label_smoothing=0.2), logits),
        "crossEntropy weights": case(lambda x: F.cross_entropy(x, target, weight), logits),
        "crossEntropy none": case(lambda x: F.cross_entropy(x, target, reduction="none"), logits),
        "crossEntropy sum": case(lambda x: F.cross_entropy(x, target, reduction="sum"), logits),
        "klDivergence": case(
            lambda p, q: F.kl_div(q.log_softmax(-1), p.log_softmax(-1), log_target=True, reduction="batchmean"),
            logits, other,
        ),
        "binaryCrossEntropy": case(
            lambda x, t: F.binary_cross_entropy_with_logits(x, t), 8 * r(3, 4), torch.rand(3, 4)
        ),
        "binaryCrossEntropy positive": case(
            lambda x, t: F.binary_cross_entropy_with_logits(x, t, pos_weight=weight[:4]), 8 * r(3, 4), torch.rand(3, 4)
        ),
        "crossEntropy impossible class": case(
            lambda x: F.cross_entropy(x, torch.tensor([0, 1])), torch.tensor([[1, -torch.inf, 2], [0, 1, -torch.inf]]), second=False
        ),
        "nll": case(lambda x: F.nll_loss(x.log_softmax(-1), target), logits),
        "huber": case(lambda a, b: F.huber_loss(a, b, delta=0.5), apart(3, 4), apart(3, 4)),
        "cosineEmbedding": case(
            lambda a, b: F.cosine_embedding_loss(a, b, torch.tensor([1, -1, -1.0]), 0.1, reduction="sum"), r(3, 4), r(3, 4)
        ),
        "triplet": case(lambda a, b, c: F.triplet_margin_loss(a, b, c), r(3, 4), r(3, 4), r(3, 4)),
        "attention, nowhere to look": case(
            lambda q, k, v: F.scaled_dot_product_attention(
                q, k, v, torch.tensor([[True, False], [False, False]])
            ), r(1, 2, 4), r(1, 2, 4), r(1, 2, 4)
        ),
        "smoothL1": case(lambda a, b: F.smooth_l1_loss(a, b, beta=0.5), apart(3, 4), apart(3, 4)),
        "attention bias": case(
            lambda q, k, v, b: F.scaled_dot_product_attention(q, k, v, b), r(1, 2, 3, 4), r(1, 2, 4, 4), r(1, 2, 4, 4), r(2, 3, 4)
        ),
        "attention mask": case(
            lambda q, k, v: F.scaled_dot_product_attention(q, k, v, mask), r(1, 2, 3, 4), r(1, 2, 4, 4), r(1, 2, 4, 4)
        ),
        "attention causal": case(
            lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3),
            r(1, 2, 3, 4), r(1, 2, 3, 4), r(1, 2, 3, 4),
        ),
    }


def write(path, cases):
    path.parent.mkdir(exist_ok=True)
    path.write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in cases.items()) + "\n}\n")


if __name__ == "__main__":
    write(SOURCE / "graph/testdata/ops.json", graph())
    with sdpa_kernel(SDPBackend.MATH):  # the others have no second derivative
        write(SOURCE / "nn/testdata/functional.json", functional())
