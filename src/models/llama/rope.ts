import * as g from '../../graph/index.ts';
import { concat, constant, f32, type Tensor } from '../../graph/index.ts';
import { configReader, type Json } from '../config.ts';

/** Rotary position embedding (Su et al. 2021). */
export interface Rope {
  /** Radians a position for each pair of a head: headWidth / 2. */
  readonly frequencies: readonly number[];
  /** What cosines and sines are multiplied by (YaRN). */
  readonly factor: number;
}

/**
 * Reads `rope_parameters`, or `rope_theta` and `rope_scaling` of older files. Known are the types default, linear, llama3
 * and yarn (Peng et al. 2023); others, whose angles depend on the length of the text, are refused.
 */
export function parseRope(json: Json, headWidth: number, context: number): Rope {
  const where = json.rope_parameters ? 'rope_parameters' : 'rope_scaling';
  const part = (json[where] ?? {}) as Json;
  const r = configReader({ ...part, rope_type: part.rope_type ?? part.type }, where);
  r.only('rope_type', 'default', 'linear', 'llama3', 'yarn');
  r.only('partial_rotary_factor', 1);
  const theta = r.number('rope_theta', configReader(json).number('rope_theta', 10000));
  const plain = Array.from({ length: headWidth / 2 }, (_, i) => theta ** ((-2 * i) / headWidth));
  const original = () => r.number('original_max_position_embeddings', context);
  const required = (key: string) => r.number(key, Number.NaN);
  switch (part.rope_type ?? part.type ?? 'default') {
    case 'linear': {
      const factor = required('factor');
      return { frequencies: plain.map((f) => f / factor), factor: 1 };
    }
    case 'llama3': {
      const [factor, low, high] = ['factor', 'low_freq_factor', 'high_freq_factor'].map(required) as number[];
      // Turns within the original context: many are kept, few are slowed down, between is a mixture.
      const kept = (f: number) => ((original() * f) / (2 * Math.PI) - low!) / (high! - low!);
      return { frequencies: plain.map((f) => mix(f / factor!, f, kept(f))), factor: 1 };
    }
    case 'yarn':
      return yarn();
    default:
      return { frequencies: plain, factor: 1 };
  }

  function yarn(): Rope {
    const factor = required('factor');
    const temperature = (scale: number) => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1);
    const [all, one] = [r.number('mscale_all_dim', 0), r.number('mscale', 0)];
    const inferred = all && one ? temperature(one) / temperature(all) : temperature(1);
    // The pair that turns so often within the original context.
    const pair = (turns: number) =>
      (headWidth * Math.log(original() / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
    const [fast, slow] = [pair(r.number('beta_fast', 32)), pair(r.number('beta_slow', 1))];
    const whole = r.flag('truncate', true);
    const low = Math.max(whole ? Math.floor(fast) : fast, 0);
    const high = Math.min(whole ? Math.ceil(slow) : slow, headWidth - 1);
    const slowed = (i: number) => (i - low) / (low === high ? 0.001 : high - low);
    return {
      frequencies: plain.map((f, i) => mix(f, f / factor, slowed(i))),
      factor: r.number('attention_factor', inferred),
    };
  }
}

/** From a to b as t goes from 0 to 1. */
function mix(a: number, b: number, t: number): number {
  const share = Math.min(1, Math.max(0, t));
  return (1 - share) * a + share * b;
}

/** A function that rotates heads [B, heads, T, d] to positions [B or 1, T]: feature i pairs with i + d / 2. */
export function rotation({ frequencies, factor }: Rope, positions: Tensor): (x: Tensor) => Tensor {
  const [batch, length] = positions.shape as [number, number];
  const angles = positions
    .cast('float32')
    .reshape([batch, 1, length, 1])
    .mul(constant(f32(frequencies)));
  const both = (t: Tensor) => concat([t, t], 3).mul(factor);
  const [cos, sin] = [both(g.cos(angles)), both(g.sin(angles))];
  return (x) => {
    const half = x.dim(-1) / 2;
    const turned = concat([x.slice(3, half).neg(), x.slice(3, 0, half)], 3);
    return x.mul(cos).add(turned.mul(sin));
  };
}
