import { constant, type HostTensor, input, norm, stack, type Tensor } from '../../graph/index.ts';
import type { ClipModel } from '../../hub/index.ts';
import { textTower, visionTower } from '../../models/clip/index.ts';
import { type Scope, trace } from '../../nn/index.ts';
import { runOnce } from '../../runtime/index.ts';
import type { Values } from '../../train/index.ts';
import type { Prompts } from '../vlm/prompting.ts';

type Build = (s: Scope) => Tensor;

/**
 * The feature shift of a tower, behind each of its layers and, last, of its features:
 * Δ_l = ‖h_l(with prompts) − h_l(without)‖ / ‖h_l(without)‖, a mean over rows. `pick` leaves of a state the position that
 * is read.
 */
async function shiftOf(
  model: ClipModel,
  tower: 'text' | 'vision',
  run: { prompted: Build; plain: Build },
  pick: (state: Tensor) => Tensor,
): Promise<number[]> {
  const statesOf = (s: Scope, build: Build): Tensor[] => {
    const states: Tensor[] = [];
    const tap = (x: Tensor) => {
      states.push(pick(x));
      return x;
    };
    const features = build(s.intercept({ tap: { [`${tower}_model.encoder.layers.*:out`]: tap } }));
    return [...states, features];
  };
  const { result } = trace(model.weights, (s) => {
    const plain = statesOf(s, run.plain);
    const relative = (h: Tensor, l: number) => norm(h.sub(plain[l]!), 2, -1).div(norm(plain[l]!, 2, -1));
    return stack(statesOf(s, run.prompted).map((h, l) => relative(h, l).mean()));
  });
  const { shift } = await runOnce({ shift: result }, {}, { name: 'feature shift' });
  return Array.from(shift.data, Number);
}

const bound = (s: Scope, tensors: Values): Scope =>
  s.bind(Object.fromEntries(Object.entries(tensors).map(([name, value]) => [name, constant(value)])));

/** Of the text tower, at the end token of sentences `ids` [C, L], in which `prompts` replace words. */
export function textShift(
  model: ClipModel,
  prompts: Prompts,
  tensors: Values,
  ids: HostTensor<'int64'>,
): Promise<number[]> {
  const [n, length] = ids.shape as [number, number];
  const atEnd = new Float32Array(n * length);
  for (let row = 0; row < n; row++) {
    const tokens = ids.data.subarray(row * length, (row + 1) * length);
    atEnd[row * length + tokens.indexOf(BigInt(model.tokenizer.eosId!))] = 1;
  }
  const mask = constant({ dtype: 'float32', shape: [n, length, 1], data: atEnd });
  const none = input('image features', [1, model.config.projection]);
  return shiftOf(
    model,
    'text',
    {
      prompted: (s) => prompts.text(bound(s, tensors), none),
      plain: (s) => textTower(s, constant(ids), model.config).features,
    },
    (state) => state.mul(mask).sum(1),
  );
}

/** Of the vision tower, at the class token of preprocessed `pixels` [B, channels, H, W]; zeros where it is left alone. */
export function visionShift(
  model: ClipModel,
  prompts: Prompts,
  tensors: Values,
  pixels: HostTensor,
): Promise<number[]> {
  const plain = (s: Scope) => visionTower(s, constant(pixels), model.config).features;
  const { image } = prompts;
  return shiftOf(
    model,
    'vision',
    { prompted: (s) => (image ? image(bound(s, tensors), constant(pixels)) : plain(s)), plain },
    (state) => state.slice(1, 0, 1),
  );
}
