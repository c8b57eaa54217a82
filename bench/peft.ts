import { constant, i64 } from '../src/graph/index.ts';
import type { LanguageFunctions } from '../src/hub/index.ts';
import { lowRankPair, offsetByPosition } from '../src/methods/dept/method.ts';
import { type Injection, inject, injectScope } from '../src/methods/lm/injection.ts';
import { scoreOf, type TextTensors } from '../src/methods/lm/score.ts';
import { bert, parseBertConfig } from '../src/models/bert/index.ts';
import { gpt2, parseGpt2Config } from '../src/models/gpt2/index.ts';
import { parseT5Config, t5 } from '../src/models/t5/index.ts';
import { adamw, type Intercept, linearInit, normalInit, type Scope } from '../src/nn/index.ts';
import type { Values } from '../src/train/index.ts';
import { type Benchmark, training } from './benchmark.ts';
import { integers } from './data.ts';

type Base = 'bert' | 't5' | 'gpt2';
const bases: Record<Base, LanguageFunctions> = {
  bert: { kind: 'encoder', model: bert(parseBertConfig({ model_type: 'bert' })) },
  t5: {
    kind: 'seq2seq',
    model: t5(parseT5Config({ model_type: 't5', d_model: 768, d_ff: 3072, num_layers: 12, num_heads: 12 })),
  },
  gpt2: { kind: 'causal', model: gpt2(parseGpt2Config({ model_type: 'gpt2' })) },
};
const names: Record<Base, string> = {
  bert: 'BERT-base with a trained classifier, 16 sentences of 64 tokens',
  t5: 'T5-base, 4 texts of 256 tokens, targets of 8',
  gpt2: 'GPT-2 small, 8 texts of 64 tokens, targets of 8',
};

const prompt = (length: number) => ({
  length,
  tokens: (s: Scope) => s.param('prompt_embeddings', [length, 768], normalInit(0.5)),
});

/** B does not begin at zero here: A's gradient would vanish, and nothing would be compared. */
const lowRank =
  (transposed: boolean): Intercept =>
  (w, { name, param }) => {
    const path = name.slice(0, -'.weight'.length);
    const [outputs, inputs] = transposed ? [w.dim(1), w.dim(0)] : [w.dim(0), w.dim(1)];
    const a = param(`${path}.lora_A`, [8, inputs], linearInit);
    const b = param(`${path}.lora_B`, [outputs, 8], normalInit(0.02));
    return w.add(
      transposed ? a.matmul(b, { transA: true, transB: true, alpha: 2 }) : b.matmul(a, { alpha: 2 }),
    );
  };

/** As many numbers as a prompt of 100 tokens. */
const dept = (length: number, rank: number): Injection => ({
  soft: prompt(length),
  text: offsetByPosition(
    (s) =>
      lowRankPair(s, {
        ...{ rows: 256, rank, width: 768, scale: 'code' },
        init: { a: linearInit, b: normalInit(0.02) },
      }).product,
  ),
});

const injections: Record<string, Injection> = {
  'bert-prompt': { soft: prompt(20) },
  'bert-lora': {
    intercept: { weight: { '**.query.weight': lowRank(false), '**.value.weight': lowRank(false) } },
  },
  't5-prompt': { soft: prompt(100) },
  't5-lora': { intercept: { weight: { '**.q.weight': lowRank(false), '**.v.weight': lowRank(false) } } },
  't5-dept': dept(60, 30),
  't5-dept-20': dept(20, 60),
  'gpt2-lora': { intercept: { weight: { '**.c_attn.weight': lowRank(true) } } },
};
const about = (method: string, { soft }: Injection): string =>
  ({
    prompt: `prompt tuning, ${soft?.length} soft tokens,`,
    lora: 'LoRA, r = 8 on queries and values,',
    dept: `DePT, ${soft?.length} soft tokens and a low-rank pair, as many numbers as 100 tokens,`,
  })[method]!;

function step(name: string): Benchmark {
  const [base, method] = name.split('-') as [Base, string];
  const functions = bases[base];
  const injection = injections[name]!;
  return training({
    name,
    about: `${about(method, injection)} on frozen ${names[base]}, AdamW`,
    torch: { script: 'peft_steps', settings: { base, method } },
    frozen: true,
    batch(): Values {
      if (base === 'bert')
        return { ids: integers('ids', [16, 64], 30522), labels: integers('labels', [16], 4) };
      if (base === 'gpt2') return { ids: integers('ids', [8, 64], 50257) };
      return { ids: integers('ids', [4, 256], 32128), labels: integers('labels', [4, 8], 32128) };
    },
    build(s, { ids, labels }) {
      const [batch, length] = ids!.shape as [number, number];
      const mask = constant(i64(Array<number>(batch * length).fill(1), [batch, length]));
      const places = constant(
        i64(
          Array.from({ length: batch * 8 }, (_, i) => length - 9 + (i % 8)),
          [batch, 8],
        ),
      );
      const target = labels ?? ids!.slice(1, length - 8);
      const given: TextTensors = { ids: ids!, mask, labels: target, places };
      const kind = base === 'bert' ? 'classification' : 'text';
      const task = { kind, classes: ['a', 'b', 'c', 'd'], parts: [] } as const;
      const { loss } = scoreOf(
        injectScope(s, injection),
        inject(functions, injection),
        new Set(['pool']),
        task,
        given,
      );
      return { loss };
    },
    optimizer: adamw({ lr: 1e-3 }),
  });
}

export const peftBenchmarks = Object.keys(injections).map(step);
