import * as ops from '../../ops/index.ts';
import { applyAll, constant, type Tensor } from '../../tensor.ts';
import { type Importer, integers, type NodeReader } from '../reader.ts';
import {
  angles,
  asBias,
  attend,
  causalBias,
  joinHeads,
  repeatHeads,
  rotate,
  splitHeads,
} from './attention.ts';
import { rmsNormalised } from './normalise.ts';
import { dequantise, dynamically } from './quantise.ts';

/** Layer norm over the last axis: the output, mean and inverse deviation. */
function layerNorm(x: Tensor, scale: Tensor, bias: Tensor | undefined, eps: number): Tensor[] {
  const zero = bias ?? ops.expand(constant(0, x.dtype), scale.shape);
  return applyAll('layerNorm', [x, scale, zero], { axis: x.rank - 1, eps });
}
const addAll = (...xs: (Tensor | undefined)[]): Tensor =>
  xs.filter((x) => x !== undefined).reduce((a, b) => a.add(b));

function embedLayerNorm(n: NodeReader): Tensor[] {
  const ids = n.x(0);
  const [rows, length] = ids.shape as [number, number];
  const words = ops.gather(n.x(2), ids, 0);
  const at = n.maybe(8);
  const positions = at ? ops.gather(n.x(3), at, 0) : ops.slice(n.x(3), 0, 0, length);
  const segments = n.maybe(1) && n.maybe(4) ? ops.gather(n.x(4), n.x(1), 0) : undefined;
  const sum = addAll(words, positions, segments);
  const [y] = layerNorm(sum, n.x(5), n.x(6), n.number('epsilon', 1e-12));
  const mask = n.maybe(7);
  const counts = mask ? mask.cast('int32').sum(1) : ops.expand(constant(0, 'int32'), [rows]);
  return [y!, counts, sum];
}

/** What is hidden by a padding mask gets a large negative bias: lengths [N], or 1 for what is seen. */
function maskBias(n: NodeReader, mask: Tensor, batch: number, keys: number, like: Tensor): Tensor {
  const low = n.number('mask_filter_value', -10000);
  const bias = (seen: Tensor) => ops.where(seen, constant(0, like.dtype), constant(low, like.dtype));
  if (mask.rank === 1 && mask.dim(0) === batch) {
    const places = integers(
      Array.from({ length: keys }, (_, i) => i),
      [1, 1, 1, keys],
    );
    return bias(ops.less(places, mask.cast('int64').reshape([batch, 1, 1, 1])));
  }
  const seen = ops.less(0, mask.cast('int32'));
  if (mask.rank === 2) return bias(seen.reshape([batch, 1, 1, mask.dim(1)]));
  if (mask.rank === 3) return bias(seen.reshape([batch, 1, ...mask.shape.slice(1)]));
  return n.fail(`has a mask ${mask}, whose form is not supported`);
}

/** Self-attention of x with packed weights [width, q + k + v]. */
function packedAttention(n: NodeReader): Tensor[] {
  const x = n.x();
  const heads = n.number('num_heads', 1);
  if (n.flag('do_rotary')) n.fail('rotates inside, which is not supported');
  const total = n.x(1).dim(1);
  const sizes = n.numbers('qkv_hidden_sizes') ?? [total / 3, total / 3, total / 3];
  const packed = addAll(ops.matmul(x, n.x(1)), n.maybe(2));
  const [q, k, v] = ops.split(packed, sizes, -1).map((t) => splitHeads(t, heads)) as [Tensor, Tensor, Tensor];
  return attendWith(n, q, k, v, { mask: n.maybe(3), past: n.maybe(4), extra: n.maybe(5) });
}

function attendWith(
  n: NodeReader,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  more: { mask?: Tensor | undefined; past?: Tensor | undefined; extra?: Tensor | undefined },
): Tensor[] {
  const { mask, past, extra } = more;
  const old = (i: number) => ops.slice(past!, 0, i, i + 1).reshape(past!.shape.slice(1));
  const [keys, values] = past ? [ops.concat([old(0), k], 2), ops.concat([old(1), v], 2)] : [k, v];
  const [length, total] = [q.dim(2), keys.dim(2)];
  const biases = [
    mask && maskBias(n, mask, q.dim(0), total, q),
    extra,
    n.flag('unidirectional') ? causalBias(q, length, total, total - length) : undefined,
  ].filter((b) => b !== undefined);
  const a = attend(q, keys, values, {
    scale: n.number('scale', 0) || 1 / Math.sqrt(q.dim(3)),
    bias: biases.length ? biases.reduce(ops.add) : undefined,
  });
  const present = n.has(1) ? ops.stack([keys, values], 0) : undefined;
  return present ? [joinHeads(a.y), present] : [joinHeads(a.y)];
}

function multiHeadAttention(n: NodeReader): Tensor[] {
  const heads = n.number('num_heads', 1);
  const packed = n.maybe(1) === undefined;
  if (packed && n.x().rank !== 5) n.fail('lacks its keys');
  const width = (i: number) => (packed ? n.x().dim(2) * n.x().dim(4) : n.x(i).dim(-1));
  const bias = n.maybe(3);
  const sizes = packed
    ? [width(0), width(0), width(0)]
    : [width(0), width(0), (bias?.dim(0) ?? 0) - 2 * width(0)];
  const biases = bias ? ops.split(bias, sizes, 0) : [];
  const unpack = (x: Tensor, i: number) =>
    ops.slice(x, 3, i, i + 1).reshape([x.dim(0), x.dim(1), x.dim(2) * x.dim(4)]);
  const operand = (i: number): Tensor => {
    if (packed) return splitHeads(addAll(unpack(n.x(), i), biases[i]), heads);
    const two = i > 0 && n.x(1).rank === 5;
    if (!two && n.x(i).rank === 4) return n.x(i);
    return splitHeads(addAll(two ? unpack(n.x(1), i - 1) : n.x(i), biases[i]), heads);
  };
  const [q, k, v] = [operand(0), operand(1), operand(2)];
  const grow = (i: number, x: Tensor) => {
    const past = n.maybe(i);
    return past && past.dim(2) > 0 ? ops.concat([past, x], 2) : x;
  };
  const [keys, values] = [grow(6, k), grow(7, v)];
  if (n.maybe(8) || n.maybe(9)) n.fail('writes into a shared cache, which is not supported');
  const mask = n.maybe(4);
  const rest = [
    mask && maskBias(n, mask, q.dim(0), keys.dim(2), q),
    n.maybe(5),
    n.flag('unidirectional') ? causalBias(q, q.dim(2), keys.dim(2), keys.dim(2) - q.dim(2)) : undefined,
  ].filter((b) => b !== undefined);
  const a = attend(q, keys, values, {
    scale: n.number('scale', 0) || 1 / Math.sqrt(q.dim(3)),
    bias: rest.length ? rest.reduce(ops.add) : undefined,
  });
  return [joinHeads(a.y), keys, values, a.scores];
}

function groupQueryAttention(n: NodeReader): Tensor[] {
  const [heads, own] = [n.number('num_heads', 1), n.number('kv_num_heads', 1)];
  const width = n.maybe(1) ? n.x().dim(2) / heads : n.x().dim(2) / (heads + 2 * own);
  const [q, k, v] = n.maybe(1)
    ? [n.x(0), n.x(1), n.x(2)]
    : (ops.split(n.x(), [heads * width, own * width, own * width], -1) as [Tensor, Tensor, Tensor]);
  const [batch, length] = [q.dim(0), q.dim(1)];
  const past = n.maybe(3)?.dim(2) ?? 0;
  // With a cache, each sequence may end at another place: only equal ones are read right by a plain concatenation.
  if (past > 0 && n.required(5).some((last) => last !== past + length - 1)) {
    n.fail('has a cache that is not filled to its end, which is not supported');
  }
  if (n.flag('smooth_softmax') || n.maybe(11))
    n.fail('has a smooth softmax or sinks, which are not supported');
  const open = (x: Tensor, h: number) => x.reshape([batch, length, h, width]);
  const turn = (x: Tensor): Tensor => {
    if (!n.flag('do_rotary')) return x;
    const at = n.maybe(9);
    const rows = (table: Tensor) =>
      at
        ? ops.gather(table, at, 0)
        : ops.slice(table, 0, past, past + length).reshape([1, length, table.dim(1)]);
    return rotate(x, rows(n.x(7)), rows(n.x(8)), 2 * n.x(7).dim(1), n.flag('rotary_interleaved'));
  };
  const byHead = (x: Tensor) => x.transpose([0, 2, 1, 3]);
  const query = byHead(turn(open(q, heads)));
  const grow = (i: number, x: Tensor) => (past > 0 ? ops.concat([n.x(i), x], 2) : x);
  const [keys, values] = [grow(3, byHead(turn(open(k, own)))), grow(4, byHead(open(v, own)))];
  const local = n.number('local_window_size', -1);
  const causal = causalBias(query, length, past + length, past, local > 0 ? local : undefined);
  const extra = n.maybe(10);
  const a = attend(query, repeatHeads(keys, heads), repeatHeads(values, heads), {
    scale: n.number('scale', 0) || 1 / Math.sqrt(width),
    bias: extra ? causal.add(asBias(extra, query)) : causal,
    softcap: n.number('softcap', 0),
  });
  return [joinHeads(a.y), keys, values];
}

function rotaryEmbedding(n: NodeReader): Tensor {
  const [x, at, table] = [n.x(0), n.x(1), n.x(2)];
  const flat = x.rank === 3;
  const part = n.number('rotary_embedding_dim', 0);
  const heads = n.number('num_heads', 0) || (flat ? x.dim(2) / (2 * table.dim(1)) : x.dim(1));
  const open = flat ? x.reshape([x.dim(0), x.dim(1), heads, x.dim(2) / heads]) : x.transpose([0, 2, 1, 3]);
  const width = part || open.dim(-1);
  const length = open.dim(1);
  // One number is the position of the first token.
  const steps = integers(
    Array.from({ length }, (_, i) => i),
    [1, length],
  );
  const places = at.rank === 2 ? at : at.cast('int64').reshape([1, 1]).add(steps);
  const y = rotate(open, angles(table, places), angles(n.x(3), places), width, n.flag('interleaved'));
  const scaled = y.mul(n.number('scale', 1));
  return flat ? scaled.reshape(x.shape) : scaled.transpose([0, 2, 1, 3]);
}

/** Integers of `bits` bits packed in bytes, the first in the lowest: [..., bytes] → [..., bytes·8 / bits], int32. */
function unpackBits(x: Tensor, bits: number): Tensor {
  if (bits === 8) return x.cast('int32');
  const wide = x.cast('int32');
  const parts = Array.from({ length: 8 / bits }, (_, i) => {
    const shifted = i === 0 ? wide : wide.div(2 ** (bits * i));
    return ops.remainder(shifted, 2 ** bits);
  });
  return ops.stack(parts, -1).reshape([...x.shape.slice(0, -1), (x.dim(-1) * 8) / bits]);
}

/** x·Wᵀ with W [N, K] of few bits, in blocks along K that share a scale. */
function matMulBits(n: NodeReader): Tensor {
  const [x, packed] = [n.x(0), n.x(1)];
  const [k, rows, bits, block] = [
    n.number('K', 0),
    n.number('N', 0),
    n.number('bits', 4),
    n.number('block_size', 32),
  ];
  if (n.maybe(4)) n.fail('orders its columns by g_idx, which is not supported');
  const blocks = Math.ceil(k / block);
  const values = unpackBits(packed, bits).reshape([rows, blocks, block]);
  const scale = n.x(2).reshape([rows, blocks, 1]);
  const zeros = n.maybe(3);
  const zero = (): Tensor => {
    if (!zeros) return constant(2 ** (bits - 1), scale.dtype);
    if (zeros.dtype !== 'uint8') return zeros.reshape([rows, blocks, 1]).cast(scale.dtype);
    const all = unpackBits(zeros.reshape([rows, zeros.size / rows]), bits);
    return ops.slice(all, 1, 0, blocks).reshape([rows, blocks, 1]).cast(scale.dtype);
  };
  const w = values
    .cast(scale.dtype)
    .sub(zero())
    .mul(scale)
    .reshape([rows, blocks * block]);
  const y = ops.matmul(x, ops.slice(w, 1, 0, k).cast(x.dtype), { transB: true });
  return addAll(y, n.maybe(5));
}

/** Rows of a table of few bits. */
function gatherBlocks(n: NodeReader): Tensor {
  const [table, ids, scale, zeros] = [n.x(0), n.x(1), n.x(2), n.maybe(3)];
  const block = n.number('block_size', 128);
  // Four-bit element types are unpacked when the model is read.
  const bits = table.dim(-1) < scale.dim(-1) * block && table.dtype === 'uint8' ? n.number('bits', 4) : 8;
  const [axis, along] = [n.axis('gather_axis', 0), n.axis('quantize_axis', 1)];
  if (axis !== 0 || along !== table.rank - 1)
    n.fail('gathers or quantises along other axes, which is not supported');
  const rows = unpackBits(ops.gather(table, ids, 0), bits);
  const spread = (t: Tensor): Tensor => {
    const wide = t
      .reshape([...t.shape, 1])
      .expand([...t.shape, block])
      .reshape([...t.shape.slice(0, -1), t.dim(-1) * block]);
    return ops.slice(wide, -1, 0, rows.dim(-1));
  };
  const unsigned = table.dtype === 'uint8';
  const zero = zeros
    ? spread(
        ops.slice(
          unpackBits(ops.gather(zeros, ids, 0), zeros.dim(-1) < scale.dim(-1) ? bits : 8),
          -1,
          0,
          scale.dim(-1),
        ),
      )
    : constant(unsigned ? 2 ** (bits === 8 && n.number('bits', 4) === 4 ? 3 : bits - 1) : 0, 'int32');
  return rows
    .sub(zero)
    .cast(scale.dtype)
    .mul(spread(ops.gather(scale, ids, 0)));
}

/** Scales by column lie along the last axis. */
function integerProduct(a: Tensor, b: Tensor, scale: Tensor, bias: Tensor | undefined): Tensor {
  return addAll(ops.matmul(a, b).mul(scale), bias);
}
const real = (x: Tensor, zero: Tensor | undefined): Tensor => dequantise(x, constant(1), zero);

const activate = (n: NodeReader, y: Tensor): Tensor => {
  const name = n.string('activation', '');
  const [a, b] = n.numbers('activation_params') ?? [];
  switch (name) {
    case '':
      return y;
    case 'Relu':
      return ops.relu(y);
    case 'Tanh':
      return ops.tanh(y);
    case 'Sigmoid':
      return ops.sigmoid(y);
    case 'LeakyRelu':
      return ops.leakyRelu(y, a ?? n.number('activation_alpha', 0.01));
    case 'Clip':
      return ops.clip(y, a ?? 0, b ?? 0);
    case 'HardSigmoid':
      return ops.clip(y.mul(a ?? 0.2).add(b ?? 0.5), 0, 1);
    default:
      return n.fail(`has the activation ${name}, which is not supported`);
  }
};

/** Ops of com.microsoft that exported transformers hold. `plain` gives the importers of the default domain. */
export const microsoft = (plain: Record<string, Importer>): Record<string, Importer> => ({
  Gelu: (n) => ops.gelu(n.x()),
  FastGelu: (n) => ops.gelu(addAll(n.x(), n.maybe(1)), 'tanh'),
  BiasGelu: (n) => ops.gelu(n.x(0).add(n.x(1))),
  QuickGelu: (n) => ops.silu(n.x(), n.number('alpha', 1.702)),
  FusedMatMul: (n) => {
    if (n.flag('transBatchA') || n.flag('transBatchB'))
      n.fail('transposes batch axes, which is not supported');
    const flags = {
      transA: n.flag('transA') && n.x(0).rank > 1,
      transB: n.flag('transB') && n.x(1).rank > 1,
    };
    return ops.matmul(n.x(0), n.x(1), { ...flags, alpha: n.number('alpha', 1) });
  },
  FusedGemm: (n) => activate(n, plain.Gemm!(n) as Tensor),
  FusedConv: (n) => activate(n, addAll(plain.Conv!(n) as Tensor, n.maybe(3))),
  SkipLayerNormalization: (n) => {
    const sum = addAll(n.x(0), n.x(1), n.maybe(4));
    const [y, mean, inverse] = layerNorm(sum, n.x(2), n.maybe(3), n.number('epsilon', 1e-12));
    return [y, mean, inverse, sum];
  },
  SkipSimplifiedLayerNormalization: (n) => {
    const sum = addAll(n.x(0), n.x(1), n.maybe(3));
    const [y, inverse] = rmsNormalised(sum, n.x(2), sum.rank - 1, n.number('epsilon', 1e-12));
    return [y, undefined, inverse, sum];
  },
  SimplifiedLayerNormalization: plain.SimplifiedLayerNormalization!,
  EmbedLayerNormalization: embedLayerNorm,
  Attention: packedAttention,
  MultiHeadAttention: multiHeadAttention,
  GroupQueryAttention: groupQueryAttention,
  RotaryEmbedding: rotaryEmbedding,
  MatMulNBits: matMulBits,
  GatherBlockQuantized: gatherBlocks,
  DynamicQuantizeMatMul: (n) => {
    const [a, scale, zero] = dynamically(n.x(0));
    return integerProduct(real(a, zero), real(n.x(1), n.maybe(3)), scale.mul(n.x(2)), n.maybe(4));
  },
  MatMulIntegerToFloat: (n) =>
    integerProduct(real(n.x(0), n.maybe(4)), real(n.x(1), n.maybe(5)), n.x(2).mul(n.x(3)), n.maybe(6)),
  Trilu: plain.Trilu!,
  Inverse: (n) => ops.inverse(n.x()),
});
