/**
 * Greedy decoding here and in `transformers`, in turn, with random weights: tokens a second after a prompt, which is read first.
 * Both sides must write the same tokens.
 *
 *   npx tsx bench/generate.ts [--only gpt2|t5] [--rounds 5] [--tokens 64] [--json]
 *
 * `transformers` runs where `$PYTHON` (default `python3`) has it.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { constant, i64 } from '../src/graph/index.ts';
import { readLanguageModel, writeSafetensors } from '../src/hub/index.ts';
import { Generator, type Writer } from '../src/models/generation/index.ts';
import { gpt2, parseGpt2Config } from '../src/models/gpt2/index.ts';
import { parseT5Config, t5 } from '../src/models/t5/index.ts';
import type { Scope } from '../src/nn/index.ts';
import { freshWeights } from './benchmark.ts';
import { median } from './measure.ts';

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    tokens: { type: 'string', default: '64' },
    json: { type: 'boolean', default: false },
  },
});
const [rounds, tokens] = [Number(flags.rounds), Number(flags.tokens)];
const prompt = Array.from({ length: 32 }, (_, i) => 100 + 7 * i);
const start = constant(i64([1], [1, 1]));

const cases: Record<string, { config: object; read(s: Scope): unknown }> = {
  gpt2: { config: { model_type: 'gpt2', architectures: ['GPT2LMHeadModel'] }, read: readGpt2 },
  t5: {
    config: {
      ...{
        model_type: 't5',
        architectures: ['T5ForConditionalGeneration'],
        d_model: 768,
        d_kv: 64,
        d_ff: 3072,
      },
      ...{ num_layers: 12, num_heads: 12, decoder_start_token_id: 0, pad_token_id: 0, eos_token_id: 1 },
    },
    read: readT5,
  },
};

function readGpt2(s: Scope) {
  const model = gpt2(parseGpt2Config(cases.gpt2!.config as Record<string, unknown>));
  return model.logits(s, model.decode(s, { tokens: start }).last);
}

function readT5(s: Scope) {
  const model = t5(parseT5Config(cases.t5!.config as Record<string, unknown>));
  const memory = model.memory(s, model.encode(s, { tokens: start }).last);
  return model.logits(s, model.decode(s, { tokens: start }, memory).last);
}

for (const [name, { config, read }] of Object.entries(cases)) {
  if (flags.only && flags.only !== name) continue;
  const dir = await mkdtemp(join(tmpdir(), 'attune-bench-'));
  try {
    await writeFile(join(dir, 'config.json'), JSON.stringify(config));
    await writeSafetensors(join(dir, 'model.safetensors'), await freshWeights(read), { format: 'pt' });
    const row = { name: `generate-${name}`, tokens, ...(await compare(dir)) };
    process.stdout.write(
      flags.json ? `${JSON.stringify(row)}\n` : `${Object.entries(row).flat().join(' ')}\n`,
    );
  } finally {
    await rm(dir, { recursive: true });
  }
}

async function compare(dir: string) {
  const threads = availableParallelism();
  const peer = spawn(
    process.env.PYTHON ?? 'python3',
    [join(import.meta.dirname, 'torch/generate.py'), JSON.stringify({ dir, threads, prompt, tokens })],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const lines = createInterface({ input: peer.stdout })[Symbol.asyncIterator]();
  const theirs = async (): Promise<{ ms: number; ids: number[] }> => {
    peer.stdin.write('\n');
    return JSON.parse((await lines.next()).value ?? '{}');
  };
  const generator = new Generator((await readLanguageModel(dir)) as Writer, { threads });
  const ours = async () => {
    const begin = performance.now();
    const { ids } = await generator.generate({ ids: [prompt] }, { maxNewTokens: tokens });
    return { ms: performance.now() - begin, ids: ids[0]! };
  };
  // The first round compiles and warms up.
  const readyMs = (await ours()).ms;
  await theirs();
  const times: [number, number][] = [];
  for (let i = 0; i < rounds; i++) {
    const [a, b] = [await ours(), await theirs()];
    if (String(a.ids) !== String(b.ids))
      throw new Error(`${a.ids} is not what transformers writes: ${b.ids}`);
    times.push([a.ms, b.ms]);
  }
  peer.stdin.end();
  await generator.release();
  const [attuneMs, torchMs] = [0, 1].map((side) => median(times.map((pair) => pair[side]!))) as [
    number,
    number,
  ];
  const figure = (x: number) => Number(x.toFixed(2));
  return {
    attuneMsPerToken: figure(attuneMs / tokens),
    torchMsPerToken: figure(torchMs / tokens),
    ratio: figure(torchMs / attuneMs),
    readyMs: Math.round(readyMs),
  };
}
