import {
  concat,
  constant,
  gather,
  i64,
  input,
  type Tensor,
  type WeightSource,
  zeros,
} from '../../graph/index.ts';
import { type Scope, trace } from '../../nn/index.ts';
import { type CompileOptions, compile, type Program } from '../../runtime/index.ts';
import type { CausalModel, KeyValue, Seq2SeqModel } from '../language/index.ts';

/** A language model that writes, and its weights. */
export type Writer = { readonly weights: WeightSource } & (
  | { readonly kind: 'causal'; readonly model: CausalModel }
  | { readonly kind: 'seq2seq'; readonly model: Seq2SeqModel }
);

export interface ProgramOptions extends Omit<CompileOptions, 'name'> {
  /** What an adapter makes of the model: its interceptors and values around the scope. */
  readonly adapt?: ((s: Scope) => Scope) | undefined;
  /** How many programs are kept (default 3): each has the weights in memory once more. */
  readonly maxPrograms?: number;
}

/** Sizes of what reads the prompts. */
export interface ReadShape {
  readonly prompts: number;
  /** Tokens of a prompt, padding included, and soft tokens before them. */
  readonly length: number;
  readonly soft: number;
  /** How often each prompt is in the cache. */
  readonly beams: number;
  /** Positions of the cache. */
  readonly capacity: number;
}

/** Sizes of what writes a token. */
export interface WriteShape {
  readonly rows: number;
  readonly capacity: number;
  /** Positions of the encoder's text, in a model of pairs. */
  readonly source: number;
  /** Whether rows of the cache change places first: the input `order`. */
  readonly ordered: boolean;
}

/** Where keys and values go in and come out. */
type Place = 'past' | 'next' | 'memory';
const cacheNames = (what: Place, layer: number) =>
  [`${what}/key/${layer}`, `${what}/value/${layer}`] as const;
export const layersOf = ({ kind, model }: Writer): number =>
  kind === 'causal' ? model.layers : model.decoderLayers;
export const namesOf = (writer: Writer, what: Place): string[] =>
  Array.from({ length: layersOf(writer) }, (_, i) => [...cacheNames(what, i)]).flat();

function entries(what: Place, list: readonly KeyValue[], of: (t: Tensor) => Tensor) {
  return Object.fromEntries(
    list.flatMap(({ key, value }, i) => {
      const [k, v] = cacheNames(what, i);
      return [[k, of(key)] as const, [v, of(value)] as const];
    }),
  );
}

function inputs(writer: Writer, what: Place, rows: number, positions: number): KeyValue[] {
  const { keyHeads, headWidth } = writer.model;
  const shape = [rows, keyHeads, positions, headWidth];
  return Array.from({ length: layersOf(writer) }, (_, i) => {
    const [key, value] = cacheNames(what, i);
    return { key: input(key, shape), value: input(value, shape) };
  });
}

/**
 * The cache is aligned to the right: the newest keys come last, so that distances within it do not depend on how full it is,
 * and one program serves all steps until it is full.
 */
export class Programs {
  private readonly kept = new Map<string, Promise<Program>>();

  constructor(
    private readonly writer: Writer,
    private readonly options: ProgramOptions,
  ) {}

  /**
   * Reads prompts: `ids` [prompts, length], `mask` and (causal) `positions` [prompts, soft + length], `soft` [soft, width]. Gives
   * the cache and (causal) `logits` [prompts, V], or the encoder's keys and values, and a cache where the decoder has a prefix.
   */
  read(shape: ReadShape): Promise<Program> {
    const { prompts, length, soft, beams, capacity } = shape;
    return this.program(`read ${JSON.stringify(shape)}`, (s) => {
      const { kind, model } = this.writer;
      const [ids, mask] = [
        input('ids', [prompts, length], 'int64'),
        input('mask', [prompts, soft + length], 'int64'),
      ];
      const before = soft
        ? input('soft', [soft, model.width]).expand([prompts, soft, model.width])
        : undefined;
      const tokens = before ? concat([before, model.embed(s, ids)], 1) : ids;
      const order = Array.from({ length: prompts * beams }, (_, i) => Math.floor(i / beams));
      const each = (t: Tensor) => (beams > 1 ? gather(t, constant(i64(order)), 0) : t);
      const aligned = (t: Tensor) => {
        const shape = [prompts, model.keyHeads, capacity - t.dim(2), model.headWidth];
        return each(shape[2]! > 0 ? concat([constant(zeros(shape)), t], 2) : t);
      };
      if (kind === 'seq2seq') {
        const memory = model.memory(s, model.encode(s, { tokens, mask }).last);
        const given = entries('memory', memory, each);
        if (!model.cacheBefore) return given;
        const start = constant(i64([model.startId], [1, 1])).expand([prompts, 1]);
        const { present } = model.decode(s, { tokens: start }, memory, mask);
        const prefix = entries('next', present, (t) => aligned(t.slice(2, 0, model.cacheBefore!)));
        return { ...given, ...prefix };
      }
      const positions = input('positions', [prompts, soft + length], 'int64');
      const { last, present } = model.decode(s, { tokens, mask, positions });
      return { ...entries('next', present, aligned), logits: lastLogits(model, s, last) };
    });
  }

  /**
   * Writes a token in each row: `ids` [rows, 1], `mask` [rows, capacity + 1], (causal) `positions` [rows, 1], the cache, and of
   * pairs the encoder's keys and values with `memoryMask` [rows, source]. Gives `logits` [rows, V] and the cache with the token.
   */
  write(shape: WriteShape): Promise<Program> {
    const { rows, capacity, source, ordered } = shape;
    return this.program(`write ${JSON.stringify(shape)}`, (s) => {
      const { kind, model } = this.writer;
      const order = ordered ? input('order', [rows], 'int64') : undefined;
      const fed = inputs(this.writer, 'past', rows, capacity);
      const past = order
        ? fed.map(({ key, value }) => ({ key: gather(key, order, 0), value: gather(value, order, 0) }))
        : fed;
      const [tokens, mask] = [input('ids', [rows, 1], 'int64'), input('mask', [rows, capacity + 1], 'int64')];
      const { last, present } =
        kind === 'causal'
          ? model.decode(s, { tokens, mask, past, positions: input('positions', [rows, 1], 'int64') })
          : model.decode(
              s,
              { tokens, mask, past },
              inputs(this.writer, 'memory', rows, source + (model.memoryBefore ?? 0)),
              input('memoryMask', [rows, source], 'int64'),
            );
      const grown = present.map(({ key, value }, i) => ({
        key: concat([past[i]!.key, key], 2).slice(2, 1),
        value: concat([past[i]!.value, value], 2).slice(2, 1),
      }));
      return { ...entries('next', grown, (t) => t), logits: lastLogits(model, s, last) };
    });
  }

  async release(): Promise<void> {
    const all = [...this.kept.values()];
    this.kept.clear();
    await Promise.all(all.map((program) => free(program)));
  }

  private async program(key: string, build: (s: Scope) => Record<string, Tensor>): Promise<Program> {
    const { adapt = (s) => s, maxPrograms = 3, ...compileOptions } = this.options;
    const known = this.kept.get(key);
    const { kind, weights } = this.writer;
    // Of a model of pairs each program reads a part.
    const traced = () => trace(weights, (s) => build(adapt(s)), { partial: kind === 'seq2seq' });
    const program = known ?? compile(traced().result, { ...compileOptions, name: key });
    this.kept.delete(key);
    this.kept.set(key, program);
    for (const [oldest, old] of this.kept) {
      if (this.kept.size <= maxPrograms) break;
      this.kept.delete(oldest);
      await free(old);
    }
    return program.catch((error) => {
      this.kept.delete(key);
      throw error;
    });
  }
}

/** Logits [B, V] of the last position of `last` [B, T, width]. */
const lastLogits = ({ logits, width, vocabulary }: Writer['model'], s: Scope, last: Tensor): Tensor => {
  const x = last.slice(1, last.dim(1) - 1).reshape([last.dim(0), width]);
  return logits(s, x).reshape([last.dim(0), vocabulary]);
};

const free = (program: Promise<Program>): Promise<void> =>
  program.then(
    (p) => p.release(),
    () => undefined,
  );
