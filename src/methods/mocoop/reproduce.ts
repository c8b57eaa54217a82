import { baseAndNew, domainsOf, inDomains, openData } from '../../data/index.ts';
import { argMax, constant, l2Normalize } from '../../graph/index.ts';
import type { JsonObject } from '../../hub/index.ts';
import { runOnce } from '../../runtime/index.ts';
import type { Lab, Reproduction } from '../reproduction.ts';
import { testNames } from '../study/protocols.ts';
import type { StudyTrial } from '../study/study.ts';
import { accuracyBars, accuracyTable, figure, figureOf } from '../study/summary.ts';
import { ImageFeatures } from '../vlm/features.ts';
import { openRun } from '../vlm/saved.ts';

/** The vision tower is left alone, so that image features are computed once. */
const variant = (label: string, options: JsonObject = {}) => ({
  method: 'mocoop',
  label,
  options: { layerNorms: false, ...options },
});
const MOCOOP = variant('MoCoOp');
const labels = {
  noGate: 'without routing loss',
  noText: 'without text loss',
  dense: 'K = 6',
  names: 'with new names',
};

const seedsOf = ({ quick }: Lab) => (quick ? [1] : [1, 2, 3]);
const dataOf = ({ quick }: Lab) => (quick ? ['weather'] : ['animals', 'food', 'transport', 'weather']);
const shotsOf = ({ quick }: Lab) => (quick ? 4 : 16);

const ablation = (lab: Lab) =>
  lab.study({
    protocol: 'base-to-new',
    methods: [
      'zero-shot',
      'coop',
      MOCOOP,
      variant(labels.noGate, { gateWeight: 0 }),
      variant(labels.noText, { textWeight: 0 }),
      variant(labels.dense, { topK: 6 }),
    ],
    data: dataOf(lab),
    shots: [shotsOf(lab)],
    seeds: seedsOf(lab),
  });

/** The experts of the built-in drawings, and the domains whose style their templates name. */
const styles = { outline: 1, solid: 2, color: 3, duotone: 4, pixel: 5 };

/** Where the router sends test images: the share that goes to the expert of their style, and to the most frequent one. */
async function routing({ runDir, data }: StudyTrial): Promise<{ own: number; most: number }> {
  const { model, adapter } = await openRun(runDir);
  const { base } = baseAndNew((await openData(data)).test);
  const features = new ImageFeatures(model);
  const [weight, bias] = ['router.weight', 'router.bias'].map((name) => constant(adapter.tensors[name]!));
  const own: boolean[] = [];
  const counts = new Map<number, number>();
  for (const domain of domainsOf(base)) {
    const x = await features.of(inDomains(base, [domain]));
    const q = l2Normalize(constant(x)).matmul(weight!, { transB: true }).add(bias!);
    const { best } = await runOnce({ best: argMax(q) }, {});
    for (const expert of Array.from(best.data, Number)) {
      if (domain in styles) own.push(expert === styles[domain as keyof typeof styles]);
      counts.set(expert, (counts.get(expert) ?? 0) + 1);
    }
  }
  await features.release();
  const total = [...counts.values()].reduce((a, b) => a + b, 0);
  return { own: own.filter(Boolean).length / own.length, most: Math.max(...counts.values()) / total };
}

/** Du, Niu & Zhao 2024, by the card's directional claims. */
export const mocoopClaims: Reproduction = {
  slug: 'mocoop',
  paper: 'Du et al., Frontiers in AI 2025, arXiv 2409.12011',
  claims: [
    {
      id: 'a',
      statement:
        'The routing loss sends images to the expert of their style, above chance; without it fewer experts are used',
      async measure(lab) {
        const trials = await ablation(lab);
        const of = async (label: string) => {
          const all = [];
          for (const trial of trials.filter((t) => t.label === label)) {
            lab.signal?.throwIfAborted();
            lab.say(`routing of ${label} on ${trial.data}, seed ${trial.seed}`);
            all.push(await routing(trial));
          }
          return { own: figureOf(all.map((r) => r.own)).mean, most: figureOf(all.map((r) => r.most)).mean };
        };
        const [routed, free] = [await of('MoCoOp'), await of(labels.noGate)];
        return {
          measured: {
            'to the expert of the style': routed.own,
            'to the expert of the style without routing loss': free.own,
            'to the most frequent expert': routed.most,
            'to the most frequent expert without routing loss': free.most,
            chance: 1 / 6,
          },
          holds: routed.own > 1 / 6 + 0.05 && free.most > routed.most,
        };
      },
    },
    {
      id: 'b',
      statement:
        'MoCoOp is at least as accurate as CoOp with one context on the classes that it was trained on',
      async measure(lab) {
        const trials = await ablation(lab);
        const base = (label: string) => figure(trials, { label }, testNames.base)!.mean;
        return {
          measured: accuracyTable(trials, ['zero-shot', 'coop', 'MoCoOp']),
          holds: base('MoCoOp') >= base('coop'),
          chart: accuracyBars('Base and new classes', trials),
        };
      },
    },
    {
      id: 'c',
      statement:
        'The text loss raises new accuracy at a small cost on base classes (2 points); new names in it raise it further',
      async measure(lab) {
        const trials = await ablation(lab);
        const of = (label: string, test: string) => figure(trials, { label }, test)!.mean;
        // Names belong to one data set.
        const extraNames = [...baseAndNew((await openData('weather')).test).new.classes];
        const named = await lab.study({
          protocol: 'base-to-new',
          methods: [MOCOOP, variant(labels.names, { extraNames })],
          data: ['weather'],
          shots: [shotsOf(lab)],
          seeds: seedsOf(lab),
        });
        const more = (label: string) => figure(named, { label }, testNames.new)!.mean;
        return {
          measured: {
            ...accuracyTable(trials, [labels.noText, 'MoCoOp']),
            'weather new': more('MoCoOp'),
            'weather new, with their names in the text loss': more(labels.names),
          },
          holds:
            of('MoCoOp', testNames.new) > of(labels.noText, testNames.new) &&
            of('MoCoOp', testNames.base) > of(labels.noText, testNames.base) - 0.02 &&
            more(labels.names) > more('MoCoOp'),
        };
      },
    },
    {
      id: 'd',
      statement: 'Two experts an image are within a point of all six (base and new)',
      async measure(lab) {
        const trials = await ablation(lab);
        const far = [testNames.base, testNames.new].map((test) =>
          Math.abs(
            figure(trials, { label: 'MoCoOp' }, test)!.mean -
              figure(trials, { label: labels.dense }, test)!.mean,
          ),
        );
        return { measured: accuracyTable(trials, ['MoCoOp', labels.dense]), holds: Math.max(...far) < 0.01 };
      },
    },
  ],
};
