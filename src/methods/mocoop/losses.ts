import {
  constant,
  diagonal,
  gather,
  type HostTensor,
  l2Normalize,
  logSoftmax,
  oneHot,
  softmax,
  type Tensor,
  topK,
} from '../../graph/index.ts';
import type { ClipModel } from '../../hub/index.ts';
import { linear, type Scope } from '../../nn/index.ts';
import { runOnce } from '../../runtime/index.ts';
import { templateFeatures } from '../vlm/prompts.ts';
import type { Groups } from './groups.ts';

/** q = v Rᵀ + ρ [B, G] of normalised image features v [B, D]; trains `router.weight` and `router.bias`. */
export const routerLogits = (s: Scope, v: Tensor, experts: number): Tensor =>
  linear(s.trained().at('router'), v, experts);

/** π [B, G]: the softmax over the `k` largest logits of each row of q [B, G], 0 at the others. */
export function route(q: Tensor, k: number): Tensor {
  const [batch, experts] = q.shape as [number, number];
  const [values, indices] = topK(q, Math.min(k, experts));
  const shares = softmax(values).reshape([batch, 1, -1]);
  return shares.matmul(oneHot(indices, experts)).reshape([batch, experts]);
}

/**
 * Σ_g π_g ⟨v, t_g⟩ [B, C] for v [B, D], t [G, C, D] and π [B, G]: the cosines of all experts, mixed. It is the product with
 * the mixed features Σ_g π_g t_g, whose length stays as it comes out.
 */
export function mixed(v: Tensor, t: Tensor, pi: Tensor): Tensor {
  const [experts, classes, width] = t.shape as [number, number, number];
  const each = v.matmul(t.reshape([experts * classes, width]), { transB: true });
  return each
    .reshape([-1, experts, classes])
    .mul(pi.reshape([-1, experts, 1]))
    .sum(1);
}

/**
 * Prototypes [G, C, D]: of each group, the normalised mean of the normalised features of its templates with each
 * class.
 */
export async function prototypes(
  model: ClipModel,
  classes: readonly string[],
  groups: Groups,
): Promise<HostTensor> {
  const out = [];
  for (const templates of groups) out.push(await templateFeatures(model, classes, templates));
  const { projection } = model.config;
  const data = new Float32Array(groups.length * classes.length * projection);
  for (const [g, features] of out.entries()) data.set(features.data, g * classes.length * projection);
  const shape = [groups.length, classes.length, projection];
  const { h } = await runOnce({ h: l2Normalize(constant({ dtype: 'float32', shape, data })) }, {});
  return h;
}

/** What makes the two closest groups share the target. */
const bonus = 10;

/**
 * Where the router should send images of known classes [B, G]: the softmax over groups of u = ⟨v, H_{g, y}⟩, with 10 added
 * to the two largest. `h` is [G, C, D].
 */
export function gateTarget(v: Tensor, h: Tensor, labels: Tensor): Tensor {
  const [batch, width] = v.shape as [number, number];
  const own = gather(h.transpose([1, 0, 2]), labels);
  const u = own.matmul(v.reshape([batch, width, 1])).reshape([batch, -1]);
  const [, best] = topK(u, Math.min(2, u.dim(1)));
  return softmax(u.add(oneHot(best, u.dim(1)).sum(1).mul(bonus)));
}

/** −mean_b Σ_g target log softmax(q)_g over all experts. */
export const gateLoss = (q: Tensor, target: Tensor): Tensor => target.mul(logSoftmax(q)).sum(-1).mean().neg();

/**
 * mean_{g,c} −log softmax_{c'}(⟨t_{g,c}, H_{g,c'}⟩ / T)_c: every class of an expert among the prototypes of its own
 * group. Both are [G, C, D].
 */
export const textLoss = (t: Tensor, h: Tensor, temperature: number): Tensor =>
  diagonal(logSoftmax(t.matmul(h, { transB: true }).div(temperature)))
    .mean()
    .neg();
