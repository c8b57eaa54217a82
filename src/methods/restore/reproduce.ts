import { baseAndNew, openData, templateFor } from '../../data/index.ts';
import type { JsonObject } from '../../hub/index.ts';
import { ivlp, ivlpPrompting } from '../baselines/ivlp.ts';
import { maple, maplePrompting } from '../baselines/maple.ts';
import type { Lab, Reproduction } from '../reproduction.ts';
import { testNames } from '../study/protocols.ts';
import type { StudyTrial } from '../study/study.ts';
import { accuracyBars, accuracyTable, figure, figureOf } from '../study/summary.ts';
import { leadingWords } from '../vlm/context.ts';
import type { PromptMethod } from '../vlm/prompting.ts';
import { openRun } from '../vlm/saved.ts';
import { restore, restorePrompting } from './method.ts';
import { textShift, visionShift } from './shift.ts';

/** As the paper, all for ten epochs; the zoo's towers are four layers deep. */
const variant = (method: string, label: string, options: JsonObject = {}) => ({
  method,
  label,
  options: { epochs: 10, ...options },
});
const noSurgery = { textRatio: 0, visionRatio: 0, textGain: 0, visionGain: 0 };
const MAPLE = variant('maple', 'MaPLe', { depth: 3 });
const RESTORE = variant('restore', 'RESTORE', { depth: 3 });
const labels = { text: 'text tokens', vision: 'vision tokens', fs: 'MaPLe + L_fs', half: 'r = 0.5' };
const ablations = [
  'zero-shot',
  variant('ivlp', labels.text, { visionDepth: 0, textDepth: 3 }),
  variant('ivlp', labels.vision, { textDepth: 0, visionDepth: 3 }),
  MAPLE,
  variant('restore', labels.fs, { depth: 3, ...noSurgery }),
  RESTORE,
  variant('restore', labels.half, { depth: 3, textRatio: 0.5, visionRatio: 0.5 }),
];

const ablation = (lab: Lab) =>
  lab.study({
    protocol: 'base-to-new',
    methods: lab.quick ? ablations.filter((m) => m !== ablations[1] && m !== ablations[6]) : ablations,
    data: ['weather'],
    shots: [lab.quick ? 2 : 16],
    seeds: lab.quick ? [1] : [1, 2, 3, 4, 5],
  });
const comparison = (lab: Lab) =>
  lab.study({
    protocol: 'base-to-new',
    methods: ['zero-shot', MAPLE, RESTORE],
    data: lab.quick ? ['weather'] : ['weather', 'food', 'transport'],
    shots: [lab.quick ? 2 : 16],
    seeds: lab.quick ? [1] : [1, 2, 3],
  });

/** The prompts of a run, and the words that they replace. */
function promptingOf(
  method: string,
  options: JsonObject,
): { prompting: PromptMethod; contextLength: number } {
  if (method === 'ivlp') {
    const o = ivlp.options.parse(options);
    return { prompting: ivlpPrompting(o), contextLength: o.textLength };
  }
  if (method === 'maple') {
    const o = maple.options.parse(options);
    return { prompting: maplePrompting(o), contextLength: o.contextLength };
  }
  const o = restore.options.parse(options);
  return { prompting: restorePrompting(o), contextLength: o.contextLength };
}

/** |Δ of text features − Δ of image features| of a trial, on its base classes. */
async function gapOf({ runDir, data, options, method }: StudyTrial): Promise<number> {
  const { model, adapter } = await openRun(runDir);
  const { base } = baseAndNew((await openData(data)).test);
  const { prompting, contextLength } = promptingOf(method, options);
  const naming = { model, classes: base.classes, template: templateFor(base.name) };
  const prompts = await prompting.prompts(naming);
  const { ids } = leadingWords(model, base.classes, { contextLength, contextInit: 'a photo of a' }).layout;
  const images = base.examples.filter((_, i) => i % Math.ceil(base.examples.length / 100) === 0);
  const pixels = model.images.batch(await Promise.all(images.map((e) => e.image())));
  const onlyVision = options.textDepth === 0;
  const text = onlyVision ? 0 : (await textShift(model, prompts, adapter.tensors, ids)).at(-1)!;
  const vision = (await visionShift(model, prompts, adapter.tensors, pixels)).at(-1)!;
  return Math.abs(text - vision);
}

/** Spearman's rank correlation. */
function rankCorrelation(xs: readonly number[], ys: readonly number[]): number {
  const ranks = (of: readonly number[]) =>
    of.map((v) => of.filter((w) => w < v).length + (of.filter((w) => w === v).length - 1) / 2);
  const centred = (of: number[]) => of.map((v) => v - figureOf(of).mean);
  const [a, b] = [centred(ranks(xs)), centred(ranks(ys))];
  const dot = (x: number[], y: number[]) => x.reduce((sum, v, i) => sum + v * y[i]!, 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

/** Half a point is no difference. */
const SAME = 0.005;

/** Yang et al. 2024, by the card's directional claims. */
export const restoreClaims: Reproduction = {
  slug: 'restore',
  paper: 'Yang et al., 2024, arXiv 2403.06136',
  claims: [
    {
      id: 'a',
      statement:
        'Text and image features shift most unequally with tokens in one tower, less with MaPLe, least with the consistency loss',
      async measure(lab) {
        const trials = (await ablation(lab)).filter((t) => t.label !== 'zero-shot');
        const gaps: { label: string; gap: number; fresh: number }[] = [];
        for (const trial of trials) {
          lab.signal?.throwIfAborted();
          lab.say(`feature shift of ${trial.label}, seed ${trial.seed}`);
          gaps.push({ label: trial.label, gap: await gapOf(trial), fresh: trial.tests.new!.accuracy! });
        }
        const of = (label: string) => figureOf(gaps.filter((g) => g.label === label).map((g) => g.gap));
        const present = [...new Set(gaps.map((g) => g.label))];
        const one = [labels.text, labels.vision].filter((l) => present.includes(l)).map((l) => of(l).mean);
        const [joint, alike] = [of('MaPLe').mean, of(labels.fs).mean];
        return {
          measured: {
            ...Object.fromEntries(present.map((label) => [`gap of ${label}`, of(label).mean])),
            'rank correlation of gap and new accuracy': rankCorrelation(
              gaps.map((g) => g.gap),
              gaps.map((g) => g.fresh),
            ),
          },
          holds: Math.min(...one) > joint && joint > alike,
          chart: {
            title: 'Gap between the shifts of text and image features',
            xLabel: 'prompts',
            yLabel: '|shift of text − shift of images|',
            series: [{ name: 'gap', points: present.map((x) => ({ x, y: of(x).mean, error: of(x).std })) }],
          },
        };
      },
    },
    {
      id: 'b',
      statement: 'The consistency loss keeps or improves new accuracy of MaPLe at about equal base accuracy',
      async measure(lab) {
        const trials = await ablation(lab);
        const gain = (test: string) =>
          figure(trials, { label: labels.fs }, test)!.mean - figure(trials, { label: 'MaPLe' }, test)!.mean;
        return {
          measured: accuracyTable(trials, ['zero-shot', 'MaPLe', labels.fs]),
          holds: gain(testNames.new) >= -SAME && gain(testNames.base) >= -0.02,
        };
      },
    },
    {
      id: 'c',
      statement: 'Surgery blocks at r = 0.1 cost nothing on base classes; r = 0.5 hurts new ones',
      async measure(lab) {
        const trials = await ablation(lab);
        const of = (label: string, test: string) => figure(trials, { label }, test)!.mean;
        const present = lab.quick ? [labels.fs, 'RESTORE'] : [labels.fs, 'RESTORE', labels.half];
        const free = of('RESTORE', testNames.base) >= of(labels.fs, testNames.base) - SAME;
        return {
          measured: accuracyTable(trials, present),
          holds: free && (lab.quick || of(labels.half, testNames.new) < of('RESTORE', testNames.new)),
          ...(lab.quick && { note: 'r = 0.5 is left out of the quick run' }),
        };
      },
    },
    {
      id: 'd',
      statement: 'RESTORE is more accurate on new classes than MaPLe, averaged over data sets and seeds',
      async measure(lab) {
        const trials = await comparison(lab);
        const fresh = (label: string) => figure(trials, { label }, testNames.new)!;
        return {
          measured: {
            ...accuracyTable(trials),
            'MaPLe new deviation': fresh('MaPLe').std,
            'RESTORE new deviation': fresh('RESTORE').std,
          },
          holds: fresh('RESTORE').mean > fresh('MaPLe').mean,
          chart: accuracyBars('MaPLe and RESTORE', trials),
        };
      },
    },
  ],
};
