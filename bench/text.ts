import { adamw, crossEntropy } from '../src/nn/index.ts';
import { training } from './benchmark.ts';
import { integers } from './data.ts';
import { type DecoderConfig, decoder } from './models/decoder.ts';

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

export const textBenchmarks = [decoderStep];
