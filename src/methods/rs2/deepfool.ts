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
  // An image that is done makes room for the next: most take a few steps, some take all.
  const original = new Float32Array(batch * width);
  const now = new Float32Array(batch * width);
  const place = Int32Array.from({ length: batch }, () => -1);
  const steps = new Uint8Array(batch);
  const own = new Array<number>(batch).fill(0);
  let entered = 0;
  const enter = (slot: number) => {
    const i = entered < count ? entered++ : -1;
    place[slot] = i;
    steps[slot] = 0;
    if (i < 0) return;
    const { data } = imageTensor(images, normalisation, [i]);
    original.set(data, slot * width);
    now.set(data, slot * width);
    own[slot] = argMax(row(predicted, i));
  };
  const leave = (slot: number) => {
    let square = 0;
    for (let d = slot * width; d < (slot + 1) * width; d++) square += (now[d]! - original[d]!) ** 2;
    out[place[slot]!] = square;
    enter(slot);
  };
  try {
    for (let slot = 0; slot < batch; slot++) enter(slot);
    while (place.some((i) => i >= 0)) {
      const x = { dtype: 'float32' as const, shape: [batch, ...shape], data: now };
      const found = await program.run({ ...feeds, images: x, own: i64(own, [batch, 1]) });
      const logits = { data: found.logits.data as Float32Array, width: classes };
      const moved = found.next.data as Float32Array;
      for (let slot = 0; slot < batch; slot++) {
        if (place[slot]! < 0) continue;
        if (argMax(row(logits, slot)) !== own[slot] || steps[slot] === most) leave(slot);
        else {
          now.set(moved.subarray(slot * width, (slot + 1) * width), slot * width);
          steps[slot]!++;
        }
      }
      onProgress?.(entered, count);
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
