import type { Scope } from '../src/nn/index.ts';
import { adamw, crossEntropy, normalInit } from '../src/nn/index.ts';
import { type Benchmark, training } from './benchmark.ts';
import { integers } from './data.ts';
import { type BertOptions, bertClassifier } from './models/bert.ts';
import { type DecoderConfig, decoder } from './models/decoder.ts';

const sentences = () => ({
  ids: integers('ids', [16, 64], 30522),
  labels: integers('labels', [16], 4),
});

function bertStep(name: string, about: string, options: (s: Scope) => BertOptions): Benchmark {
  return training({
    name,
    about: `${about} on a frozen BERT-base with a trained classifier, 16 sentences of 64 tokens, AdamW`,
    torch: { script: 'bert', settings: { method: name.slice('bert-'.length) } },
    frozen: true,
    batch: sentences,
    build(s, { ids, labels }) {
      const head = s.intercept({ weight: { 'classifier.*': (_w, match) => match.train() } });
      return { loss: crossEntropy(bertClassifier(head, ids!, 4, options(s)), labels!) };
    },
    optimizer: adamw({ lr: 1e-3 }),
  });
}

const prompt = bertStep('bert-prompt', 'prompt tuning: 20 soft tokens', (s) => ({
  prompt: s.param('prompt', [20, 768], normalInit(0.02)),
}));

const [rank, scale] = [8, 2];
const lora = bertStep('bert-lora', `LoRA, r = ${rank} on queries and values,`, () => ({
  adapt(s, x, y) {
    // B does not begin at zero here: A's gradient would vanish, and nothing would be compared.
    const a = s.param('lora_A.weight', [rank, x.dim(-1)], normalInit(0.02));
    const b = s.param('lora_B.weight', [y.dim(-1), rank], normalInit(0.02));
    return y.add(x.matmul(a, { transB: true }).matmul(b, { transB: true, alpha: scale }));
  },
}));

const config: DecoderConfig = { vocabulary: 8192, context: 128, width: 320, layers: 6, heads: 5 };
const decoderStep = training({
  name: 'decoder',
  about:
    'a GPT-2 of 10 M parameters (6 layers, 320 wide, 8192 tokens), 8 sequences of 128, AdamW; all trained',
  torch: { script: 'decoder', settings: { ...config } },
  frozen: false,
  batch: () => ({ ids: integers('ids', [8, 129], config.vocabulary) }),
  build(s, { ids }) {
    const logits = decoder(s, ids!.slice(1, 0, 128), config);
    const next = ids!.slice(1, 1);
    return { loss: crossEntropy(logits, next) };
  },
  optimizer: adamw({ lr: 1e-3 }),
});

export const textBenchmarks = [prompt, lora, decoderStep];
