/**
 * Trains small adapters of every kind that Python's `peft` knows, saves them, and has Python load them and compare logits. Needs
 * Python with torch, transformers, peft and safetensors (`PYTHON`, by default python3):
 *
 *     npx tsx tools/peft-live.ts
 */

import { spawnSync } from 'node:child_process';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { constant, i64 } from '../src/graph/index.ts';
import { writeSafetensors } from '../src/hub/index.ts';
import { attach } from '../src/methods/lm/adapter.ts';
import { fitLanguage } from '../src/methods/lm/fit.ts';
import { findLanguageMethod } from '../src/methods/lm/list.ts';
import { saveLanguageAdapter } from '../src/methods/lm/saved.ts';
import { tinyClasses, tinyFamilies, tinyLanguage, tinyTexts } from '../src/methods/testing/tiny-language.ts';
import { shiftRight } from '../src/models/language/index.ts';
import { trace } from '../src/nn/index.ts';
import { runOnce } from '../src/runtime/index.ts';

const kinds: Record<string, [method: string, options: object]> = {
  lora: ['lora', { rank: 2 }],
  rslora: ['lora', { rank: 2, rankStabilized: true, bias: 'lora_only' }],
  dora: ['lora', { rank: 2, dora: true }],
  ia3: ['ia3', {}],
  prompt: ['prompt-tuning', { length: 3 }],
  'p-tuning': ['p-tuning', { length: 3, encoder: 'lstm', encoderWidth: 8 }],
  prefix: ['prefix-tuning', { length: 3 }],
  'prefix-projected': ['prefix-tuning', { length: 3, projection: true }],
  ept: ['ept', { length: 3, rank: 2, budget: 6 }],
};
const task = { kind: 'classification', classes: tinyClasses, parts: ['text'] } as const;
const root = await mkdtemp(join(tmpdir(), 'attune-peft-'));
for (const family of tinyFamilies) {
  const model = await tinyLanguage(family);
  for (const [name, [method, more]] of Object.entries(kinds)) {
    const options = { steps: 20, batch: 8, maxLength: 10, learningRate: 0.05, ...more };
    const fit = {
      model,
      method: findLanguageMethod(method),
      options,
      task,
      train: tinyTexts(16, 1),
      val: [],
      seed: 1,
    };
    const run = fitLanguage(fit);
    let next = await run.next();
    while (!next.done) next = await run.next();
    const { adapter } = next.value;
    const dir = join(root, `${family}-${name}`);
    await saveLanguageAdapter(dir, model, adapter);
    const ids = i64([2, 9, 14, 15, 1, 0, 2, 10, 12, 1, 0, 0], [2, 6]);
    const mask = i64([1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 0, 0], [2, 6]);
    const labels = i64([6, 1, 7, 1], [2, 2]);
    const attached = await attach(model, adapter);
    const { result } = trace(model.weights, (outer) => {
      const s = attached.adapt(outer);
      const inputs = { tokens: constant(ids), mask: constant(mask) };
      if (attached.kind === 'encoder') {
        const pooled = attached.model.pool(s, attached.model.encode(s, inputs).last);
        return attached.model.classify(s.trained(), pooled, tinyClasses.length);
      }
      if (attached.kind === 'causal') return attached.model.logits(s, attached.model.decode(s, inputs).last);
      const memory = attached.model.memory(s, attached.model.encode(s, inputs).last);
      const tokens = shiftRight(constant(labels), attached.model);
      return attached.model.logits(s, attached.model.decode(s, { tokens }, memory, inputs.mask).last);
    });
    const { logits } = await runOnce({ logits: result }, {});
    const given = { input_ids: ids, attention_mask: mask, ...(model.kind === 'seq2seq' && { labels }) };
    await writeSafetensors(join(dir, 'live.safetensors'), { ...given, logits });
    await writeFile(
      join(dir, 'live.json'),
      JSON.stringify({ base: model.folder, labels: tinyClasses.length }),
    );
  }
}
const script = fileURLToPath(new URL('reference/peft_live.py', import.meta.url));
const { status } = spawnSync(process.env.PYTHON ?? 'python3', [script, root], { stdio: 'inherit' });
process.exitCode = status ?? 1;
