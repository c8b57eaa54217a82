import {
  cast,
  input,
  type Shape,
  type Tensor,
  type Weight,
  type WeightSource,
  weight,
} from '../graph/index.ts';
import { didYouMean } from '../graph/nearest.ts';
import { type Initializer, linearInit, weightInit } from './init.ts';
import { compilePattern } from './pattern.ts';

/** A trained tensor: declared where it is used, fed to the program as the input `param/NAME`. */
export interface Param {
  readonly name: string;
  readonly shape: Shape;
  readonly init: Initializer;
  readonly tensor: Tensor;
}

/** A tensor that training keeps and no gradient moves, such as running statistics: fed as `param/NAME` too. */
export interface Buffer extends Param {
  /** Its value after the step: that of the last `update`. */
  readonly next: Tensor;
}

/** What an interceptor learns about the weight or tap that its pattern matched. */
export interface Match {
  /** The full name of the weight or site. */
  readonly name: string;
  /** The texts that the pattern's stars stand for. */
  readonly captures: readonly string[];
  /** The first star that is a whole number: the layer, in patterns such as `encoder.layers.*:in`. */
  readonly layer: number;
  /** Declares a trained tensor (names are global, not below the match). */
  param(name: string, shape: Shape, init: Initializer): Tensor;
  /** Makes the matched weight itself trained, from its present value. Weights only. */
  train(): Tensor;
}

export type Intercept = (value: Tensor, match: Match) => Tensor;
/** Interceptors by name pattern: of weights, and of the sites where a model lets its activations be tapped. */
export interface Interceptors {
  readonly weight?: Record<string, Intercept>;
  readonly tap?: Record<string, Intercept>;
}

interface Handler {
  weight(name: string, shape: Shape, init: Initializer): Tensor;
  param(name: string, shape: Shape, init: Initializer): Tensor;
  buffer(name: string, shape: Shape, init: Initializer): Tensor;
  update(name: string, value: Tensor): void;
  tap(site: string, x: Tensor): Tensor;
  tapped(site: string): boolean;
}

/** Where a traced model gets its weights, trained parameters and taps: a position in the tree of names. */
export class Scope {
  constructor(
    private readonly trace: Trace,
    private readonly handler: Handler,
    readonly path: string = '',
  ) {}

  private full(name: string, separator = '.'): string {
    return this.path === '' || name === '' ? this.path + name : this.path + separator + name;
  }

  /** The scope below `prefix`. */
  at(prefix: string | number): Scope {
    return new Scope(this.trace, this.handler, this.full(String(prefix)));
  }
  /** A frozen weight as float32. `init` is used only where a model is made from scratch. */
  weight(name: string, shape: Shape, init: Initializer = linearInit): Tensor {
    return this.handler.weight(this.full(name), shape, init);
  }
  /** A trained parameter. Declaring a name twice gives the same tensor; with another shape it is an error. */
  param(name: string, shape: Shape, init: Initializer): Tensor {
    return this.handler.param(this.full(name), shape, init);
  }
  /** A tensor that training keeps beside the parameters and that changes by `update` alone: as it is at this point. */
  buffer(name: string, shape: Shape, init: Initializer): Tensor {
    return this.handler.buffer(this.full(name), shape, init);
  }
  /** Gives a buffer a new value, for what is traced from here on and for the next step. */
  update(name: string, value: Tensor): void {
    this.handler.update(this.full(name), value);
  }
  /** Lets interceptors replace an activation. The site is called PATH:NAME. */
  tap(name: string, x: Tensor): Tensor {
    return this.handler.tap(this.full(name, ':'), x);
  }
  /** Whether an interceptor matches a site: where none does, a model may leave out what nobody reads of it. */
  tapped(name: string): boolean {
    return this.handler.tapped(this.full(name, ':'));
  }
  /** This scope with interceptors around it. Later ones see what earlier ones made of a value. */
  intercept(interceptors: Interceptors): Scope {
    return new Scope(this.trace, this.trace.wrap(this.handler, interceptors), this.path);
  }
  /**
   * This scope with the parameters and buffers of these (full) names given: an adapter's constants, or parameters after
   * an inner step. Interceptors that are already around it keep their own.
   */
  bind(values: Readonly<Record<string, Tensor>>): Scope {
    const outer = passing(this.handler);
    const given =
      (declare: Handler['param']): Handler['param'] =>
      (name, shape, init) => {
        const value = Object.hasOwn(values, name) && values[name];
        if (!value) return declare(name, shape, init);
        if (String(value.shape) !== String(shape)) {
          throw new Error(`"${name}" is given as [${value.shape}], but is declared as [${shape}]`);
        }
        return value;
      };
    const bound = { ...outer, param: given(outer.param), buffer: given(outer.buffer) };
    return new Scope(this.trace, bound, this.path);
  }
  /** This scope with every weight a trained parameter: for layers that a method adds to a frozen model. */
  trained(): Scope {
    const outer = passing(this.handler);
    return new Scope(this.trace, { ...outer, weight: outer.param }, this.path);
  }
}

/** A handler that asks another one for everything. */
const passing = (outer: Handler): Handler => ({
  weight: (name, shape, init) => outer.weight(name, shape, init),
  param: (name, shape, init) => outer.param(name, shape, init),
  buffer: (name, shape, init) => outer.buffer(name, shape, init),
  update: (name, value) => outer.update(name, value),
  tap: (site, x) => outer.tap(site, x),
  tapped: (site) => outer.tapped(site),
});

/** `scope` with interceptors around it; patterns are matched against full names. */
export const intercept = (scope: Scope, interceptors: Interceptors): Scope => scope.intercept(interceptors);

/** The result of tracing a model once. */
export interface Traced<T> {
  readonly result: T;
  /** The trained parameters, in order of declaration. */
  readonly params: readonly Param[];
  /** Buffers by name, also those that are declared or updated on a scope of this trace later. */
  readonly buffers: ReadonlyMap<string, Buffer>;
  /** Names of the weights that were read. */
  readonly weights: ReadonlySet<string>;
  /** Names of the sites that could be tapped. */
  readonly sites: ReadonlySet<string>;
}

export interface TraceOptions {
  /** Whether `build` reads a part of the model only, so that interceptors may find nothing there. */
  readonly partial?: boolean;
}

/**
 * Calls `build` with a scope over `source`, or over fresh trained parameters where `source` is 'scratch'. Throws
 * when an interceptor's pattern matched nothing, naming near misses.
 */
export function trace<T>(
  source: WeightSource | 'scratch',
  build: (scope: Scope) => T,
  { partial = false }: TraceOptions = {},
): Traced<T> {
  const run = new Trace(source);
  const result = build(new Scope(run, run));
  if (!partial) run.requireAllPatternsMatched();
  const { buffers, weights, sites } = run;
  return { result, params: [...run.params.values()], buffers, weights, sites };
}

function requireShape<P extends Param>(known: P, shape: Shape): P {
  if (String(known.shape) === String(shape)) return known;
  throw new Error(`"${known.name}" is declared as [${known.shape}] and again as [${shape}]`);
}

class Trace implements Handler {
  readonly params = new Map<string, Param>();
  readonly buffers = new Map<string, Buffer>();
  readonly weights = new Set<string>();
  readonly sites = new Set<string>();
  private readonly tensors = new Map<string, { weight: Weight; tensor: Tensor }>();
  private readonly patterns: { kind: 'weight' | 'tap'; pattern: string; matched: boolean }[] = [];

  constructor(private readonly source: WeightSource | 'scratch') {}

  param(name: string, shape: Shape, init: Initializer): Tensor {
    const param = this.params.get(name) ?? this.fresh(name, shape, init);
    this.params.set(name, param);
    return requireShape(param, shape).tensor;
  }

  buffer(name: string, shape: Shape, init: Initializer): Tensor {
    let buffer = this.buffers.get(name);
    if (!buffer) {
      const fresh = this.fresh(name, shape, init);
      buffer = { ...fresh, next: fresh.tensor };
      this.buffers.set(name, buffer);
    }
    return requireShape(buffer, shape).next;
  }

  private fresh(name: string, shape: Shape, init: Initializer): Param {
    if (this.params.has(name) || this.buffers.has(name)) {
      throw new Error(`"${name}" is declared both as a parameter and as a buffer`);
    }
    return { name, shape, init, tensor: input(`param/${name}`, shape) };
  }

  update(name: string, next: Tensor): void {
    const known = this.buffers.get(name);
    if (!known) throw new Error(`"${name}" is updated, but no buffer of that name is declared`);
    if (String(next.shape) !== String(known.shape)) {
      throw new Error(`Buffer "${name}" is declared as [${known.shape}], but updated with [${next.shape}]`);
    }
    this.buffers.set(name, { ...known, next });
  }

  weight(name: string, shape: Shape, init: Initializer): Tensor {
    this.weights.add(name);
    if (this.source === 'scratch') return this.param(name, shape, init);
    const { weight: stored, tensor } = this.load(name);
    if (String(stored.shape) !== String(shape)) {
      throw new Error(
        `Weight "${name}" in ${this.source.label} is [${stored.shape}] but the model expects [${shape}]; ` +
          'does config.json belong to these weights?',
      );
    }
    return tensor;
  }

  private load(name: string): { weight: Weight; tensor: Tensor } {
    const source = this.source as WeightSource;
    let entry = this.tensors.get(name);
    if (!entry) {
      const stored = source.get(name);
      if (!stored) {
        throw new Error(
          `Weight "${name}" is missing from ${source.label}${didYouMean(name, source.names())}`,
        );
      }
      entry = { weight: stored, tensor: cast(weight(stored), 'float32') };
      this.tensors.set(name, entry);
    }
    return entry;
  }

  tap(site: string, x: Tensor): Tensor {
    this.sites.add(site);
    return x;
  }

  tapped(): boolean {
    return false;
  }

  wrap(inner: Handler, interceptors: Interceptors): Handler {
    const prepare = (kind: 'weight' | 'tap') =>
      Object.entries(interceptors[kind] ?? {}).map(([pattern, apply]) => {
        const entry = { kind, pattern, matched: false };
        this.patterns.push(entry);
        return { match: compilePattern(pattern), apply, entry };
      });
    const weights = prepare('weight');
    const taps = prepare('tap');
    const through = (list: typeof weights, name: string, value: Tensor): Tensor => {
      let out = value;
      for (const { match, apply, entry } of list) {
        const captures = match(name);
        if (!captures) continue;
        entry.matched = true;
        out = apply(out, this.matchOf(name, captures, inner));
        if (list === weights && String(out.shape) !== String(value.shape)) {
          throw new Error(
            `The interceptor of "${entry.pattern}" made [${out.shape}] of "${name}" [${value.shape}]`,
          );
        }
      }
      return out;
    };
    return {
      ...passing(inner),
      weight: (name, shape, init) => through(weights, name, inner.weight(name, shape, init)),
      tap: (site, x) => through(taps, site, inner.tap(site, x)),
      tapped: (site) => taps.some(({ match }) => match(site)) || inner.tapped(site),
    };
  }

  private matchOf(name: string, captures: string[], inner: Handler): Match {
    return {
      name,
      captures,
      layer: Number(captures.find((c) => /^\d+$/.test(c)) ?? Number.NaN),
      param: (param, shape, init) => inner.param(param, shape, init),
      train: () => {
        if (this.source === 'scratch') return this.params.get(name)!.tensor;
        const { weight: stored } = this.load(name);
        return inner.param(name, stored.shape, weightInit(stored));
      },
    };
  }

  requireAllPatternsMatched(): void {
    for (const { kind, pattern, matched } of this.patterns) {
      if (matched) continue;
      const names = kind === 'weight' ? this.weights : this.sites;
      const near = didYouMean(pattern, names);
      const example =
        near || (names.size ? `; there are ${names.size}, such as "${[...names][0]}"` : '; there are none');
      throw new Error(
        `The ${kind} pattern "${pattern}" matches no ${kind === 'weight' ? 'weight' : 'site'}${example}`,
      );
    }
  }
}
