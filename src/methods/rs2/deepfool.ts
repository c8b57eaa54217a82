import { type ImageSet, imageTensor } from '../../data/index.ts';
import {
  abs,
  constant,
  gatherElements,
  grad,
  i64,
  input,
  less,
  maximum,
  sqrt,
  type Tensor,
  where,
} from '../../graph/index.ts';
import { trace } from '../../nn/index.ts';
import { compile } from '../../runtime/index.ts';
import type { Values } from '../../train/index.ts';
import { argMax, type Classifier, feedsOf } from '../classify/classifier.ts';
import { type Rows, row } from '../gram/k-means.ts';

const most = 50;
const batch = 100;

/**
 * DeepFool's ‖r‖² (Ducoffe & Precioso 2018): the image moves to the nearest boundary of the network as it is there linearised,
 * x += |z_l − z_ŷ| / ‖w_l‖² · w_l with w_k = ∇z_k − ∇z_ŷ and l = argmin_k |z_k − z_ŷ| / ‖w_k‖, at most 50 times, until the
 * prediction changes from that of the logits `predicted` [N, C]. Each step costs a backward pass for each class.
 */
export async function perturbations(
  classifier: Classifier,
  params: Values,
  images: ImageSet,
  predicted: Rows,
  onProgress?: (done: number, total: number) => void,
): Promise<Float64Array> {
  const { shape, classes, normalisation } = classifier;
  const width = shape.reduce((a, b) => a * b);
  const { result } = trace('scratch', (s) => {
    const x = input('images', [batch, ...shape]);
    const own = input('own', [batch, 1], 'int64');
    const { logits } = classifier.network(s, x);
    return { ...deepFoolStep(x, logits, own), logits };
  });
  const program = await compile(result, { name: 'DeepFool' });
  const feeds = feedsOf(program, params);
  const count = images.labels.length;
  const out = new Float64Array(count);
  try {
    for (let from = 0; from < count; from += batch) {
      const indices = Int32Array.from({ length: batch }, (_, i) => Math.min(from + i, count - 1));
      const original = imageTensor(images, normalisation, indices);
      let now = { ...original, data: original.data.slice() };
      const own = Array.from(indices, (i) => argMax(row(predicted, i)));
      const moving = new Uint8Array(batch).fill(1);
      for (let step = 0; step <= most && moving.includes(1); step++) {
        const found = await program.run({ ...feeds, images: now, own: i64(own, [batch, 1]) });
        const logits = { data: found.logits.data as Float32Array, width: classes };
        const next = now.data.slice();
        for (let i = 0; i < batch; i++) {
          if (argMax(row(logits, i)) !== own[i]) moving[i] = 0;
          if (!moving[i] || step === most) continue;
          next.set((found.next.data as Float32Array).subarray(i * width, (i + 1) * width), i * width);
        }
        now = { ...now, data: next };
      }
      for (let i = 0; i < Math.min(batch, count - from); i++) {
        let square = 0;
        for (let d = i * width; d < (i + 1) * width; d++) square += (now.data[d]! - original.data[d]!) ** 2;
        out[from + i] = square;
      }
      onProgress?.(Math.min(from + batch, count), count);
    }
  } finally {
    await program.release();
  }
  return out;
}

/** Images [B, ...] after one step, by their logits [B, C] and the class [B, 1] that they are to leave. */
function deepFoolStep(x: Tensor, logits: Tensor, own: Tensor): { next: Tensor } {
  const [rows, classes] = [x.dim(0), logits.dim(1)];
  const flat = [rows, x.size / rows];
  const ownLogit = gatherElements(logits, own, 1);
  const ownGradient = grad(ownLogit.sum(), [x])[0]!.reshape(flat);
  let [nearest, shift] = [constantColumn(rows, 1e30), constantColumn(rows, 0)] as [Tensor, Tensor];
  for (let k = 0; k < classes; k++) {
    const logit = logits.slice(1, k, k + 1);
    const w = grad(logit.sum(), [x])[0]!.reshape(flat).sub(ownGradient);
    const gap = abs(logit.sub(ownLogit));
    const square = w.square().sum(-1, true);
    // The own class has w = 0 and is never the nearest.
    const distance = where(less(1e-20, square), gap.div(sqrt(maximum(square, 1e-20))), 1e30);
    const closer = less(distance, nearest);
    shift = where(closer, w.mul(gap.div(maximum(square, 1e-20))), shift);
    nearest = where(closer, distance, nearest);
  }
  return { next: x.add(shift.reshape(x.shape)) };
}

const constantColumn = (rows: number, value: number): Tensor =>
  constant({ dtype: 'float32', shape: [rows, 1], data: new Float32Array(rows).fill(value) });
