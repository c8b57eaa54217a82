import type { Random } from '../../runtime/index.ts';

/** A function of sets that is built up one element at a time. */
export interface SetFunction {
  /** Elements are 0 … size − 1. */
  readonly size: number;
  /** What adding the element to the present set would gain. */
  gain(element: number): number;
  add(element: number): void;
}

export interface Pick {
  readonly element: number;
  readonly gain: number;
}

/** How a set function is maximised. */
export type Maximizer = (f: SetFunction, budget: number) => Pick[];

/** Evaluates all gains for every pick; ties go to the first. */
export const naiveGreedy: Maximizer = (f, budget) => {
  const left = new Set(Array.from({ length: f.size }, (_, i) => i));
  return picks(f, budget, () => bestOf(f, left), left);
};

/**
 * Keeps old gains as upper bounds and evaluates the top until it stays there (Minoux 1978): the picks of naive greedy where
 * gains never grow.
 */
export const lazyGreedy: Maximizer = (f, budget) => {
  const bounds = Float64Array.from({ length: f.size }, (_, e) => f.gain(e));
  const fresh = new Int32Array(f.size);
  const heap = new Heap(f.size, (a, b) => bounds[a]! > bounds[b]! || (bounds[a] === bounds[b] && a < b));
  const chosen: Pick[] = [];
  while (chosen.length < budget && heap.size > 0) {
    const element = heap.top;
    if (fresh[element] === chosen.length) {
      heap.removeTop();
      chosen.push({ element, gain: bounds[element]! });
      f.add(element);
    } else {
      bounds[element] = f.gain(element);
      fresh[element] = chosen.length;
      heap.sinkTop();
    }
  }
  return chosen;
};

/** Evaluates max(1, round(n/k · ln(1/ε))) random candidates for each of k picks (Mirzasoleiman et al., AAAI 2015). */
export const stochasticGreedy =
  (epsilon: number, random: Random): Maximizer =>
  (f, budget) => {
    const left = Array.from({ length: f.size }, (_, i) => i);
    const count = stochasticCandidates(f.size, budget, epsilon);
    const chosen: Pick[] = [];
    while (chosen.length < budget && left.length > 0) {
      const candidates = drawToFront(left, count, random);
      const pick = bestOf(f, candidates);
      left.splice(left.indexOf(pick.element), 1);
      chosen.push(pick);
      f.add(pick.element);
    }
    return chosen;
  };

export const stochasticCandidates = (size: number, budget: number, epsilon: number): number =>
  Math.max(1, Math.round((size / budget) * Math.log(1 / epsilon)));

/** Moves a random part to the front and returns it. */
export function drawToFront(items: number[], count: number, random: Random): number[] {
  const n = Math.min(count, items.length);
  for (let i = 0; i < n; i++) {
    const j = i + random.int(items.length - i);
    [items[i], items[j]] = [items[j]!, items[i]!];
  }
  return items.slice(0, n);
}

function picks(f: SetFunction, budget: number, next: () => Pick, left: Set<number>): Pick[] {
  const chosen: Pick[] = [];
  while (chosen.length < budget && left.size > 0) {
    const pick = next();
    left.delete(pick.element);
    chosen.push(pick);
    f.add(pick.element);
  }
  return chosen;
}

function bestOf(f: SetFunction, elements: Iterable<number>): Pick {
  let best: Pick = { element: -1, gain: Number.NEGATIVE_INFINITY };
  for (const element of elements) {
    const gain = f.gain(element);
    if (gain > best.gain || best.element < 0) best = { element, gain };
  }
  return best;
}

/** Elements 0 … n − 1, the one that comes `before` all others on top. */
class Heap {
  private readonly items: number[];

  constructor(
    count: number,
    private readonly before: (a: number, b: number) => boolean,
  ) {
    this.items = Array.from({ length: count }, (_, i) => i).sort((a, b) => (before(a, b) ? -1 : 1));
  }

  get size(): number {
    return this.items.length;
  }

  get top(): number {
    return this.items[0]!;
  }

  removeTop(): void {
    const last = this.items.pop()!;
    if (this.items.length === 0) return;
    this.items[0] = last;
    this.sinkTop();
  }

  /** After the top has fallen behind. */
  sinkTop(): void {
    const { items, before } = this;
    for (let at = 0; ; ) {
      let first = at;
      for (const child of [2 * at + 1, 2 * at + 2])
        if (child < items.length && before(items[child]!, items[first]!)) first = child;
      if (first === at) return;
      [items[at], items[first]] = [items[first]!, items[at]!];
      at = first;
    }
  }
}

/** f(S) = Σ_i max_{j in S} s_ij for symmetric similarities [n, n] that are not negative. */
export class FacilityLocation implements SetFunction {
  private readonly current: Float32Array;

  constructor(
    private readonly similarities: Float32Array,
    readonly size: number,
  ) {
    this.current = new Float32Array(size);
  }

  gain(element: number): number {
    const { similarities, current, size } = this;
    const from = element * size;
    let sum = 0;
    for (let i = 0; i < size; i++) {
      const more = similarities[from + i]! - current[i]!;
      if (more > 0) sum += more;
    }
    return sum;
  }

  add(element: number): void {
    const from = element * this.size;
    for (let i = 0; i < this.size; i++)
      this.current[i] = Math.max(this.current[i]!, this.similarities[from + i]!);
  }
}

/** Gain of e: λ Σ_i s_ie − 2 Σ_{j in S} s_je, for symmetric similarities [n, n]. */
export class GraphCut implements SetFunction {
  private readonly gains: Float64Array;

  constructor(
    private readonly similarities: Float32Array,
    readonly size: number,
    lambda = 1,
  ) {
    this.gains = Float64Array.from({ length: size }, (_, e) => {
      let sum = 0;
      for (let i = 0; i < size; i++) sum += similarities[e * size + i]!;
      return lambda * sum;
    });
  }

  gain(element: number): number {
    return this.gains[element]!;
  }

  add(element: number): void {
    const from = element * this.size;
    for (let i = 0; i < this.size; i++) this.gains[i]! -= 2 * this.similarities[from + i]!;
  }
}
