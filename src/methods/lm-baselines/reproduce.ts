import {
  accuracies,
  bars,
  figures,
  mean,
  type Plan,
  type Trials,
  trialsOf,
  type Variant,
} from '../lm/trials.ts';
import type { Lab, Reproduction } from '../reproduction.ts';
import { figureOf } from '../study/summary.ts';

const shared = { batch: 16, maxLength: 32, evaluations: 6 };
const planOf = ({ quick }: Lab): Plan =>
  quick
    ? {
        ...base,
        tasks: ['fiction'],
        seeds: [1],
        count: 64,
        tests: 64,
        options: { ...shared, evaluations: 2, steps: 4 },
      }
    : {
        ...base,
        tasks: ['fiction', 'spam'],
        seeds: [1, 2, 3],
        count: 1000,
        tests: 300,
        options: { ...shared, steps: 150 },
      };
const base = { model: 'zoo:words-t5', vals: 128 };

/** Peak learning rates; docs/methods/lm-baselines.md says how they were chosen. */
const variants = {
  'full fine-tuning': { method: 'full-fine-tuning', options: { learningRate: 3e-3 } },
  LoRA: { method: 'lora', options: { learningRate: 3e-3 } },
  adapters: { method: 'adapters', options: { bottleneck: 16, learningRate: 0.03 } },
  'prefix tuning': { method: 'prefix-tuning', options: { length: 20, learningRate: 0.3 } },
  'prompt tuning': { method: 'prompt-tuning', options: { length: 20, learningRate: 0.3 } },
} satisfies Record<string, Variant>;
type Name = keyof typeof variants;

/** Points of accuracy within which two methods are called alike; fixed before the seeds were run. */
const alike = 0.02;

async function measured<N extends Name>(lab: Lab, names: readonly N[]): Promise<Record<N, Trials>> {
  const found = {} as Record<N, Trials>;
  for (const name of names) found[name] = await trialsOf(lab, planOf(lab), variants[name]);
  return found;
}
const accuracy = (trials: Trials): number => mean(accuracies(trials));

/** Lengths of prompts. */
const lengths = [5, 20, 80] as const;
const prompt = (length: number): Variant =>
  length === 20
    ? variants['prompt tuning']
    : { method: 'prompt-tuning', options: { length, learningRate: 0.3 } };

/** Mean validation loss of a variant at each look, over tasks and seeds. */
const lossCurve = (trials: Trials): { x: number; y: number }[] => {
  const all = trials.flat().map((t) => t.evaluations);
  return all[0]!.map(({ step }, i) => ({ x: step, y: mean(all.map((own) => own[i]!.loss)) }));
};
/** Share of the way from the highest to the lowest loss of a curve that lies behind at its middle. */
const halfway = (curve: readonly { y: number }[]): number => {
  const ys = curve.map(({ y }) => y);
  const [most, least] = [Math.max(...ys), Math.min(...ys)];
  return most === least ? 1 : (most - ys[Math.floor((ys.length - 1) / 2)]!) / (most - least);
};

/** A source of the same corpus whose labels hold the target's, and one of another corpus and question. */
const sources = { good: 'genre', mismatched: 'language' } as const;

/** Prompts of `fiction` from each source and from vocabulary, in a training of a quarter of the steps. */
async function transferred(lab: Lab) {
  const plan = planOf(lab);
  const sourcePlan = { ...plan, seeds: [1] };
  const short = {
    ...plan,
    tasks: ['fiction'],
    options: { ...plan.options, steps: Math.ceil(Number(plan.options.steps) / 4), evaluations: 2 },
  };
  const found: Record<string, Trials> = { vocabulary: await trialsOf(lab, short, variants['prompt tuning']) };
  for (const [name, data] of Object.entries(sources)) {
    const [[source]] = (await trialsOf(lab, { ...sourcePlan, tasks: [data] }, variants['prompt tuning'])) as [
      [Trials[number][number]],
    ];
    const { method, options } = variants['prompt tuning'];
    found[name] = await trialsOf(lab, short, { method, options: { ...options, source: source.dir } });
  }
  return { found, plan: short };
}

/** The card's directional claims of the baselines, on a small frozen T5. */
export const baselineClaims: Reproduction = {
  slug: 'lm-baselines',
  paper: 'the papers of the baselines; claims by the card',
  claims: [
    {
      id: 'a',
      statement: 'Full fine-tuning is at least as accurate as LoRA',
      async measure(lab) {
        const found = await measured(lab, ['full fine-tuning', 'LoRA']);
        return {
          holds: accuracy(found['full fine-tuning']) >= accuracy(found.LoRA),
          measured: figures(found),
        };
      },
    },
    {
      id: 'b',
      statement: 'LoRA and adapters differ by less than two points',
      async measure(lab) {
        const found = await measured(lab, ['LoRA', 'adapters']);
        const difference = accuracy(found.LoRA) - accuracy(found.adapters);
        return { holds: Math.abs(difference) < alike, measured: { difference, ...figures(found) } };
      },
    },
    {
      id: 'c',
      statement: 'LoRA and adapters are at least as accurate as prefix tuning, and that as prompt tuning',
      async measure(lab) {
        const found = await measured(lab, Object.keys(variants) as Name[]);
        const [prefix, plain] = [accuracy(found['prefix tuning']), accuracy(found['prompt tuning'])];
        return {
          holds: Math.min(accuracy(found.LoRA), accuracy(found.adapters)) >= prefix && prefix >= plain,
          measured: figures(found),
          chart: bars(planOf(lab), 'Five ways', found),
        };
      },
    },
    {
      id: 'd',
      statement: 'A longer prompt is more accurate, with diminishing returns (5, 20, 80 tokens)',
      async measure(lab) {
        const found: Record<string, Trials> = {};
        for (const n of lengths) found[`${n} tokens`] = await trialsOf(lab, planOf(lab), prompt(n));
        const [few, some, many] = Object.values(found).map(accuracy) as [number, number, number];
        return {
          holds: few < some && some <= many && many - some < some - few,
          measured: figures(found),
          chart: {
            title: 'Length of the prompt',
            xLabel: 'tokens',
            yLabel: 'test accuracy',
            series: [
              {
                name: 'mean over tasks, deviation over seeds',
                points: lengths.map((x) => {
                  const { mean: y, std: error } = figureOf(accuracies(found[`${x} tokens`]!));
                  return { x, y, error };
                }),
              },
            ],
          },
        };
      },
    },
    {
      id: 'e',
      statement:
        'Prompt tuning learns later than LoRA: halfway it has come less of its way in validation loss',
      async measure(lab) {
        const found = await measured(lab, ['LoRA', 'prompt tuning']);
        const curves = Object.entries(found).map(([name, trials]) => ({ name, points: lossCurve(trials) }));
        const [lora, prompt] = curves.map(({ points }) => halfway(points)) as [number, number];
        return {
          holds: prompt < lora,
          measured: { 'LoRA, halfway': lora, 'prompt tuning, halfway': prompt },
          chart: { title: 'Validation loss', xLabel: 'step', yLabel: 'loss', series: curves },
        };
      },
    },
    {
      id: 'f',
      statement:
        'Early in training a prompt from a related source (genre → fiction) is better than one from vocabulary, and that than one from a mismatched source (language)',
      async measure(lab) {
        const { found, plan } = await transferred(lab);
        const [plain, good, mismatched] = ['vocabulary', 'good', 'mismatched'].map((n) =>
          accuracy(found[n]!),
        ) as [number, number, number];
        return {
          holds: good > plain && plain > mismatched,
          measured: figures(found),
          chart: bars(plan, 'Sources, a quarter of the steps', found),
        };
      },
    },
  ],
};
