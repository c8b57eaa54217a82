import { z } from 'zod';
import { ensembleFor } from '../../data/index.ts';
import { defineMethod } from '../method.ts';
import { textClassifier } from '../vlm/classify.ts';
import { templateFeatures } from '../vlm/prompts.ts';
import type { Adapter } from '../vlm/task.ts';

const options = z.strictObject({
  ensemble: z.boolean().default(false).describe('average the text features of several templates'),
});

const adapterOf = ({ ensemble }: z.output<typeof options>): Adapter => ({
  tensors: {},
  parameters: 0,
  async classifier(model, classes, template) {
    const templates = ensemble ? ensembleFor(template) : [template];
    return textClassifier(model, await templateFeatures(model, classes, templates));
  },
});

/** Radford et al. 2021: cosine similarity with the text features of a sentence for each class. Nothing is trained. */
export const zeroShot = defineMethod({
  name: 'zero-shot',
  summary: 'CLIP as it is: one sentence a class, nothing trained',
  paper: 'Radford et al., ICML 2021, arXiv 2103.00020',
  kind: 'tune',
  options,
  // biome-ignore lint/correctness/useYield: nothing is trained, so there is no progress to report
  async *fit(_task, options) {
    return { adapter: adapterOf(options), stopped: 'end' as const };
  },
  restore: ({ options }) => adapterOf(options),
});
