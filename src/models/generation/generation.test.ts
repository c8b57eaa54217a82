import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { f32 } from '../../graph/index.ts';
import { readLanguageModel } from '../../hub/language.ts';
import { Random } from '../../runtime/index.ts';
import { Generator } from './generate.ts';
import { type GenerationOptions, parseGenerationOptions } from './options.ts';
import type { Writer } from './programs.ts';
import { draw, narrow, restrict } from './scores.ts';

interface Golden {
  readonly cases: readonly {
    readonly model: string;
    readonly eosIds: readonly number[];
    readonly options: Partial<GenerationOptions>;
    readonly prompts: readonly number[][];
    readonly soft?: readonly number[][];
    readonly ids: readonly number[][];
    readonly scores?: readonly number[];
  }[];
  readonly processed: readonly {
    readonly options: Partial<GenerationOptions>;
    readonly history: readonly number[];
    readonly eosIds: readonly number[];
    readonly before: readonly number[];
    readonly after: readonly (number | null)[];
  }[];
}
const golden: Golden = JSON.parse(await readFile(new URL('testdata/golden.json', import.meta.url), 'utf8'));

const generators = new Map<string, Promise<Generator>>();
function generatorOf(name: string): Promise<Generator> {
  const made = generators.get(name) ?? open(name);
  generators.set(name, made);
  return made;
}
async function open(name: string): Promise<Generator> {
  const folder = fileURLToPath(new URL(`../${name.replace('/', '/testdata/')}`, import.meta.url));
  return new Generator((await readLanguageModel(folder)) as Writer, { maxPrograms: 12 });
}
afterAll(async () => {
  for (const generator of generators.values()) await (await generator).release();
});

describe('as transformers generates', () => {
  const named = golden.cases.map((c) => ({
    ...c,
    about: JSON.stringify({ ...c.options, soft: c.soft?.length }),
  }));
  test.each(named)('$model $about', async ({ model, prompts, soft, eosIds, options, ids, scores }) => {
    const generator = await generatorOf(model);
    const values = soft && { soft: f32(soft.flat(), [soft.length, soft[0]!.length]) };
    const got = await generator.generate({ ids: prompts, eosIds, ...values }, options);
    expect(got.ids).toEqual(ids);
    for (const [i, score] of (scores ?? []).entries()) expect(got.scores![i]).toBeCloseTo(score, 4);
  });
});

describe('sampling', () => {
  test.each(golden.processed)('scores after $options are those of transformers', (c) => {
    const o = parseGenerationOptions({ maxNewTokens: 1, ...c.options });
    const scores = Float32Array.from(c.before);
    restrict(scores, c.history, 0, c.eosIds, o);
    narrow(scores, o);
    c.after.forEach((want, i) => {
      if (want === null) expect(scores[i]).toBe(Number.NEGATIVE_INFINITY);
      else expect(scores[i]).toBeCloseTo(want, 4);
    });
  });

  test('tokens are drawn by their probability, those left out never', () => {
    const scores = Float32Array.of(Math.log(0.5), Number.NEGATIVE_INFINITY, Math.log(0.2), Math.log(0.3));
    const counts = [0, 0, 0, 0];
    for (let i = 0; i < 20_000; i++) counts[draw(scores, new Random(1, 'draw', i))]!++;
    for (const [i, p] of [0.5, 0, 0.2, 0.3].entries()) expect(counts[i]! / 20_000).toBeCloseTo(p, 1.5);
    expect(counts[1]).toBe(0);
  });

  test('a seed gives the same texts, whatever else is in the batch up to their rows; another seed gives others', async () => {
    const generator = await generatorOf('llama/qwen2');
    const write = async (seed: number, ...ids: number[][]) =>
      (await generator.generate({ ids }, { sample: true, maxNewTokens: 8, seed })).ids;
    const [first] = await write(1, [5, 6, 7], [8]);
    expect(await write(1, [5, 6, 7], [8])).toEqual([first, expect.anything()]);
    expect(await write(1, [5, 6, 7])).toEqual([first]);
    expect(await write(2, [5, 6, 7])).not.toEqual([first]);
  });
});

test('steps are yielded as they come; texts that have ended yield nothing', async () => {
  const generator = await generatorOf('gpt2/tied');
  const ids = [[5, 6], [9]];
  const whole = await generator.generate({ ids }, { maxNewTokens: 6 });
  const eosIds = [whole.ids[0]![2]!];
  const rows: number[][] = [[], []];
  for await (const { step, tokens } of generator.stream({ ids, eosIds }, { maxNewTokens: 6 })) {
    expect(step).toBeLessThanOrEqual(6);
    for (const [row, token] of tokens.entries()) if (token !== undefined) rows[row]!.push(token);
  }
  expect(rows).toEqual((await generator.generate({ ids, eosIds }, { maxNewTokens: 6 })).ids);
  expect(rows[0]).toHaveLength(whole.ids[0]!.indexOf(eosIds[0]!) + 1);
});

test('what an adapter does to the scope shows in the text', async () => {
  const folder = fileURLToPath(new URL('../gpt2/testdata/tied', import.meta.url));
  const writer = (await readLanguageModel(folder)) as Writer;
  const generator = new Generator(writer, {
    adapt: (s) => s.intercept({ tap: { 'transformer.h.*:out': (x) => x.neg() } }),
  });
  const write = (g: Generator) => g.generate({ ids: [[5, 6, 7]] }, { maxNewTokens: 8 });
  expect(await write(generator)).not.toEqual(await write(await generatorOf('gpt2/tied')));
  await generator.release();
});

test('an aborted signal ends it', async () => {
  const generator = await generatorOf('gpt2/tied');
  const stop = new AbortController();
  const steps = generator.stream({ ids: [[5]], signal: stop.signal }, { maxNewTokens: 8 });
  await steps.next();
  stop.abort(new Error('no longer wanted'));
  await expect(steps.next()).rejects.toThrow('no longer wanted');
});

test('what cannot be done is refused', async () => {
  const generator = await generatorOf('gpt2/tied');
  const fails = (ids: number[][], options: object, soft?: ReturnType<typeof f32>) =>
    expect(generator.generate({ ids, ...(soft && { soft }) }, options)).rejects;
  await fails([], {}).toThrow('there is no prompt');
  await fails([[]], {}).toThrow('prompt 0 has no tokens');
  await fails([[1], [48]], { maxNewTokens: 2 }).toThrow('prompt 1 has the token 48; the model has 48');
  await fails([[1, 2]], { maxNewTokens: 16 }).toThrow("do not fit the model's context of 16");
  await fails([[1]], { maxNewTokens: 2, minNewTokens: 3 }).toThrow(
    'minNewTokens 3 is more than maxNewTokens 2',
  );
  await fails([[1]], { beams: 2, sample: true }).toThrow('sample and beams exclude each other');
  await fails([[1]], { topP: 0 }).toThrow('generation: topP: ');
  await fails([[1]], { topk: 3 }).toThrow('generation: Unrecognized key: "topk"');
  await fails([[1]], {}, f32([1, 2], [1, 2])).toThrow('soft tokens must be float32[n,24], not float32[1,2]');
});
