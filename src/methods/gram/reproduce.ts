import { join } from 'node:path';
import type { JsonObject } from '../../hub/index.ts';
import { loadClip } from '../../hub/index.ts';
import type { Lab, Reproduction } from '../reproduction.ts';
import { testNames } from '../study/protocols.ts';
import type { StudyTrial } from '../study/study.ts';
import { accuracyBars, accuracyTable, figure, meanOfTargets } from '../study/summary.ts';
import { type MetaOptions, metaOptions, metaTrain } from './meta-train.ts';
import { trainToy } from './toy.ts';

const seedsOf = ({ quick }: Lab) => (quick ? [1] : [1, 2, 3]);
const dataOf = ({ quick }: Lab) => (quick ? ['weather'] : ['animals', 'food', 'transport', 'weather']);

/** What is meta-trained for the claims, all for the same number of steps on the same pairs. */
const metas = {
  GRAM: {},
  MAML: { regulator: 'none' },
  'plain training': { regulator: 'none', innerRate: 0 },
  'same style': { gap: 'same' },
} satisfies Record<string, Partial<MetaOptions>>;
type MetaName = keyof typeof metas;
const IDENTITY = 'GRAM without regulator';

/** The meta file of a variant; a second claim finds it made. */
async function metaFile(lab: Lab, name: MetaName): Promise<string> {
  const steps = lab.quick ? 30 : 300;
  const pairs = lab.quick ? { pairCount: 1500, topics: 5 } : {};
  const options = metaOptions.parse({ ...metas[name], ...pairs, steps });
  const dir = join(lab.dir, `${name.replaceAll(' ', '-')}-${steps}`);
  const { signal } = lab;
  const model = await loadClip('zoo:icon-clip');
  const events = metaTrain({ model, options, dir, resume: true, signal });
  let next = await events.next();
  for (; !next.done; next = await events.next()) {
    const { value } = next;
    if (value.type === 'step' && value.step % 50 === 0)
      lab.say(`meta-training ${name}, step ${value.step} of ${steps}`);
  }
  signal?.throwIfAborted();
  return next.value!.file;
}

const tuned = (label: string, meta: string, options: JsonObject = {}) => ({
  method: 'gram',
  label,
  options: { meta, ...options },
});
const coop = (epochs = 50) => ({
  method: 'coop',
  label: 'CoOp',
  options: { unified: true, contextInit: 'a photo of a', epochs },
});

/** 4 shots of one style, tested on the others. */
async function acrossStyles(lab: Lab): Promise<StudyTrial[]> {
  const gram = await metaFile(lab, 'GRAM');
  const same = await metaFile(lab, 'same style');
  return lab.study({
    protocol: 'domain-generalisation',
    methods: [
      'zero-shot',
      coop(),
      // One epoch at a learning rate of 1e-5 leaves θ* where it was.
      tuned('GRAM untuned', gram, { epochs: 1 }),
      tuned('GRAM', gram),
      tuned(IDENTITY, gram, { regulate: false }),
      tuned('same style untuned', same, { epochs: 1 }),
      tuned('same style', same),
    ],
    data: dataOf(lab),
    shots: [4],
    seeds: seedsOf(lab),
  });
}

/** Zero-shot, CoOp and hosts that begin from each meta-training, on base and new classes. */
async function baseToNew(lab: Lab): Promise<StudyTrial[]> {
  const names: MetaName[] = lab.quick ? ['GRAM'] : ['GRAM', 'MAML', 'plain training'];
  const methods = [];
  for (const name of names) methods.push(tuned(name, await metaFile(lab, name)));
  return lab.study({
    protocol: 'base-to-new',
    methods: [
      'zero-shot',
      coop(),
      ...methods,
      tuned(IDENTITY, await metaFile(lab, 'GRAM'), { regulate: false }),
    ],
    data: dataOf(lab),
    shots: [16],
    seeds: seedsOf(lab),
  });
}

/** The style of training, and the mean of the others. */
const styles = [testNames.source, meanOfTargets];
const labelsOf = (trials: readonly StudyTrial[]) => [...new Set(trials.map((t) => t.label))];
/** Li et al. 2023, on the reconstruction, by the card's directional claims. */
export const gramClaims: Reproduction = {
  slug: 'gram',
  paper: 'Li et al., ICCV 2023, arXiv 2303.06571',
  claims: [
    {
      id: 'a',
      statement:
        'Toy: a learned scale keeps coordinates that both domains share, drops those of ambiguous sign, and beats MAML',
      async measure(lab) {
        const steps = lab.quick ? 150 : 400;
        const scale = await trainToy('scale', 'independent', steps, 1);
        const maml = await trainToy('none', 'independent', steps, 1);
        return {
          measured: {
            'scale of shared coordinates': scale.shared,
            'scale of ambiguous coordinates': scale.ambiguous,
            'query loss': scale.queryLoss,
            'query loss of MAML': maml.queryLoss,
          },
          holds: scale.shared > 0.5 && Math.abs(scale.ambiguous) < 0.2 && scale.queryLoss < maml.queryLoss,
        };
      },
    },
    {
      id: 'b',
      statement: 'Toy: where signs always flip, a scale becomes negative and a gate closes',
      async measure(lab) {
        const steps = lab.quick ? 150 : 400;
        const scale = await trainToy('scale', 'flipped', steps, 1);
        const gate = await trainToy('gate', 'flipped', steps, 1);
        return {
          measured: { 'scale of flipped': scale.ambiguous, 'gate of flipped': gate.ambiguous },
          holds: scale.ambiguous < -0.1 && Math.abs(gate.ambiguous) < 0.3,
        };
      },
    },
    {
      id: 'c',
      statement: 'From θ*, ten epochs are as accurate as fifty of CoOp (1 and 4 shots)',
      async measure(lab) {
        const meta = await metaFile(lab, 'GRAM');
        const trials = await lab.study({
          protocol: 'few-shot',
          methods: [
            'zero-shot',
            coop(),
            { ...coop(10), label: 'CoOp, 10 epochs' },
            tuned('GRAM, 10 epochs', meta, { epochs: 10 }),
          ],
          data: dataOf(lab),
          shots: lab.quick ? [4] : [1, 4],
          seeds: seedsOf(lab),
        });
        const shots = [...new Set(trials.map((t) => t.shots))];
        const at = (label: string, k: number) => figure(trials, { label, shots: k }, testNames.all)!.mean;
        return {
          measured: Object.fromEntries(
            shots.flatMap((k) => labelsOf(trials).map((label) => [`${label}, ${k} shots`, at(label, k)])),
          ),
          holds: shots.every((k) => at('GRAM, 10 epochs', k) >= at('CoOp', k)),
        };
      },
    },
    {
      id: 'd',
      statement:
        'With R accuracy on unseen styles drops less over tuning than with the identity, and is no lower on the style of training',
      async measure(lab) {
        const trials = await acrossStyles(lab);
        const of = (label: string, test: string) => figure(trials, { label }, test)!.mean;
        const drop = (label: string) => of('GRAM untuned', meanOfTargets) - of(label, meanOfTargets);
        return {
          measured: accuracyTable(trials, undefined, styles),
          holds:
            drop('GRAM') < drop(IDENTITY) &&
            of('GRAM', testNames.source) >= of(IDENTITY, testNames.source) - 0.01,
          chart: accuracyBars('Styles', trials, undefined, styles),
        };
      },
    },
    {
      id: 'e',
      statement:
        'Meta-training on support and query images of one style removes most of what R saves on unseen styles',
      async measure(lab) {
        const trials = await acrossStyles(lab);
        const of = (label: string) => figure(trials, { label }, meanOfTargets)!.mean;
        const saved = of('GRAM') - of(IDENTITY);
        const drops = {
          GRAM: of('GRAM untuned') - of('GRAM'),
          same: of('same style untuned') - of('same style'),
        };
        return {
          measured: { 'saved by R': saved, 'drop of GRAM': drops.GRAM, 'drop with one style': drops.same },
          holds: saved > 0 && drops.same - drops.GRAM > saved / 2,
        };
      },
    },
    {
      id: 'f',
      statement: 'GRAM over CoOp is more accurate than CoOp on new classes and on unseen styles',
      async measure(lab) {
        const [classes, drawings] = [await baseToNew(lab), await acrossStyles(lab)];
        const gain = (trials: readonly StudyTrial[], test: string) =>
          figure(trials, { label: 'GRAM' }, test)!.mean - figure(trials, { label: 'CoOp' }, test)!.mean;
        return {
          measured: {
            ...accuracyTable(classes),
            'gain on new classes': gain(classes, testNames.new),
            'gain on unseen styles': gain(drawings, meanOfTargets),
          },
          holds: gain(classes, testNames.new) > 0 && gain(drawings, meanOfTargets) > 0,
          chart: accuracyBars('Base and new classes', classes),
        };
      },
    },
  ],
};
