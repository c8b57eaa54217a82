import type { Chart, Finding, Lab, Reproduction } from '../reproduction.ts';
import { figureOf } from '../study/summary.ts';
import { meanReport, type Report } from './metrics.ts';
import type { AdaptationOptions } from './options.ts';
import { convolutional, sketch, type Task, type Trial, type TrialSettings, Trials } from './trials.ts';

/** What stands beside each other: the columns of the card's table. */
const columns = {
  BN: { method: 'bn' },
  TENT: { method: 'tent' },
  'TENT + filter': { method: 'tent', filter: true, diversity: 0 },
  'TENT + diversity': { method: 'tent', diversity: 0.5 },
  'TENT + filter + diversity': { method: 'tent', filter: true, diversity: 0.5 },
} satisfies Record<string, Partial<AdaptationOptions>>;
/** Other hosts, and the baseline that the filter is not made for. SWR keeps its own weight of the diversity term. */
const others = {
  EATA: { method: 'eata', diversity: 0 },
  'EATA + filter': { method: 'eata', filter: true, diversity: 0 },
  'EATA + diversity': { method: 'eata', diversity: 0.5 },
  'EATA + filter + diversity': { method: 'eata', filter: true, diversity: 0.5 },
  ENT: { method: 'ent', diversity: 0 },
  'ENT + filter': { method: 'ent', filter: true, diversity: 0 },
  'ENT + diversity': { method: 'ent', diversity: 0.5 },
  'ENT + filter + diversity': { method: 'ent', filter: true, diversity: 0.5 },
  SWR: { method: 'swr' },
  'SWR + filter': { method: 'swr', filter: true },
  CoTTA: { method: 'cotta' },
  'CoTTA without views': { method: 'cotta', viewsBelow: 0 },
} satisfies Record<string, Partial<AdaptationOptions>>;
const variants = { ...columns, ...others };
type Variant = keyof typeof variants;
const names = Object.keys(columns) as Variant[];

/** Without and with the filter, at the same weight of the diversity term. */
type Pair = readonly [without: Variant, filtered: Variant];
const normPairs: readonly Pair[] = [
  ['EATA', 'EATA + filter'],
  ['EATA + diversity', 'EATA + filter + diversity'],
];
const allPairs: readonly Pair[] = [
  ['ENT', 'ENT + filter'],
  ['ENT + diversity', 'ENT + filter + diversity'],
  ['SWR', 'SWR + filter'],
];

interface Setting {
  readonly task: Task;
  readonly stream: TrialSettings['stream'];
  readonly learningRate: number;
  readonly rounds: number;
}
const long: Setting = { task: sketch, stream: 'open', learningRate: 5e-3, rounds: 60 };
/** Of EATA, which trains what TENT does; of methods that train all parameters, at the rate of the re-implementation. */
const normSetting: Setting = { ...long, rounds: 30 };
const allSetting: Setting = { ...long, learningRate: 1e-3, rounds: 30 };

const seedsOf = ({ quick }: Lab) => (quick ? [1] : [1, 2, 3]);
const shortened = ({ quick }: Lab, setting: Setting): Setting =>
  quick ? { ...setting, rounds: Math.min(4, setting.rounds) } : setting;

/** The same trials serve several claims. */
const workshops = new WeakMap<Lab, Trials>();

async function trialsOf(lab: Lab, wanted: Setting, more: Partial<AdaptationOptions>): Promise<Trial[]> {
  const { learningRate, ...setting } = shortened(lab, wanted);
  const workshop = workshops.get(lab) ?? new Trials(lab);
  workshops.set(lab, workshop);
  const found: Trial[] = [];
  for (const seed of seedsOf(lab))
    found.push(await workshop.run({ ...setting, seed, options: { learningRate, ...more } }));
  return found;
}

const meanOf = (values: readonly number[]) => figureOf(values).mean;

/** Errors on known classes in the last round, mean and deviation over seeds, and of the source model. */
async function lastErrors(lab: Lab, setting: Setting, wanted: readonly Variant[] = names) {
  const errors = {} as Record<Variant, number>;
  const measured: Record<string, number> = {};
  const series: Chart['series'][number][] = [];
  for (const name of wanted) {
    const trials = await trialsOf(lab, setting, variants[name]);
    const { mean, std } = figureOf(trials.map((rounds) => rounds.at(-1)!.error!));
    errors[name] = mean;
    measured[name] = mean;
    measured[`${name}, deviation`] = std;
    measured[`${name}, round 1`] = meanOf(trials.map((rounds) => rounds[0]!.error!));
    measured.source = meanOf(trials.map((rounds) => rounds.at(-1)!.frozenError!));
    const points = trials[0]!.map((_, round) => ({
      x: round + 1,
      y: 100 * meanOf(trials.map((rounds) => rounds[round]!.error!)),
    }));
    series.push({ name, points });
  }
  const { stream, learningRate, task } = setting;
  const title = `${task.name}, ${stream} stream, learning rate ${learningRate}`;
  const chart: Chart = { title, xLabel: 'round', yLabel: 'error on known classes (%)', series };
  return { errors, measured, chart };
}

/** What the filter kept from the second round on: in the first nothing has moved yet and all is kept. */
async function filtering(lab: Lab, setting: Setting, options: Partial<AdaptationOptions>) {
  const trials = await trialsOf(lab, setting, options);
  const reports: Report[] = trials.flatMap((rounds) => rounds.slice(1));
  return meanReport(reports).filter!;
}

const streams = ['open', 'closed'] as const;

/** The card's directional claims, and what it asks to report beside them. */
export const openSetClaims: Reproduction = {
  slug: 'open-set-tta',
  paper: 'Lee et al., ICCV 2023, arXiv 2308.06879',
  claims: [
    {
      id: 'a',
      statement:
        'On a long open stream TENT ends worse than it began and than BN; the filter removes at least half of that excess over BN',
      async measure(lab): Promise<Finding> {
        const { errors, measured, chart } = await lastErrors(lab, long);
        const excess = errors.TENT - errors.BN;
        const holds =
          excess > 0 &&
          errors.TENT > measured['TENT, round 1']! &&
          errors['TENT + filter'] - errors.BN <= excess / 2;
        return { holds, measured, chart };
      },
    },
    {
      id: 'b',
      statement:
        'From round 2 on, correct predictions of known classes pass the filter more often than all others',
      async measure(lab): Promise<Finding> {
        const measured: Record<string, number> = {};
        let holds = true;
        for (const stream of streams) {
          for (const sourceNorm of ['batch', 'running'] as const) {
            const options = { ...variants['TENT + filter'], sourceNorm };
            const kept = await filtering(lab, { ...long, stream, rounds: 30 }, options);
            const where = `${stream}, source model by ${sourceNorm} statistics`;
            measured[`${where}: correct that pass`] = kept.keptCorrect;
            measured[`${where}: others that pass`] = kept.keptNoisy;
            holds &&= kept.keptCorrect > kept.keptNoisy;
          }
        }
        return { holds, measured };
      },
    },
    {
      id: 'c',
      statement: 'What passes the filter is correct more often than all is',
      async measure(lab): Promise<Finding> {
        const measured: Record<string, number> = {};
        let holds = true;
        for (const stream of streams) {
          const options: Partial<AdaptationOptions> = { ...variants['TENT + filter'], sourceNorm: 'batch' };
          const { precision, correct } = await filtering(lab, { ...long, stream, rounds: 30 }, options);
          measured[`${stream}: correct of what passes`] = precision;
          measured[`${stream}: correct of all`] = correct;
          holds &&= precision > correct;
        }
        return { holds, measured };
      },
    },
    {
      id: 'd',
      statement: 'Limit: on a closed stream, where nothing collapses, the filter does not help',
      async measure(lab): Promise<Finding> {
        const setting: Setting = { ...long, stream: 'closed', rounds: 30 };
        const { errors, measured, chart } = await lastErrors(lab, setting);
        return { holds: errors['TENT + filter'] >= errors.TENT, measured, chart };
      },
    },
    {
      id: 'e',
      statement: 'Limit: at a small learning rate the filter without the diversity term is worse than TENT',
      async measure(lab): Promise<Finding> {
        const { errors, measured, chart } = await lastErrors(lab, {
          ...long,
          learningRate: 1e-3,
          rounds: 30,
        });
        return { holds: errors['TENT + filter'] > errors.TENT, measured, chart };
      },
    },
    {
      id: 'f',
      statement:
        'LeNet on the fifteen corruptions, open stream: with filter and diversity term TENT ends with fewer errors than without',
      async measure(lab): Promise<Finding> {
        const setting: Setting = { task: convolutional, stream: 'open', learningRate: 1e-3, rounds: 5 };
        const { errors, measured, chart } = await lastErrors(
          lab,
          lab.quick ? { ...setting, rounds: 1 } : setting,
          ['BN', 'TENT', 'TENT + filter + diversity'],
        );
        return { holds: errors['TENT + filter + diversity'] < errors.TENT, measured, chart };
      },
    },
    {
      id: 'g',
      statement:
        'On an open stream EATA ends with fewer errors with the filter, with and without the diversity term',
      async measure(lab): Promise<Finding> {
        const { errors, measured, chart } = await lastErrors(lab, normSetting, normPairs.flat());
        return {
          holds: normPairs.every(([own, filtered]) => errors[filtered] < errors[own]),
          measured,
          chart,
        };
      },
    },
    {
      id: 'h',
      statement:
        'On an open stream ENT and SWR, which train all parameters, end with fewer errors with the filter than without',
      async measure(lab): Promise<Finding> {
        const wanted: Variant[] = [...allPairs.flat(), 'CoTTA without views'];
        const { errors, measured, chart } = await lastErrors(lab, allSetting, wanted);
        // Its 32 views of each image take as long as all the rest.
        if (!lab.quick) {
          const views = await lastErrors(lab, { ...allSetting, rounds: 1 }, ['CoTTA']);
          measured['CoTTA, round 1'] = views.errors.CoTTA;
        }
        return {
          holds: allPairs.every(([own, filtered]) => errors[filtered] < errors[own]),
          measured,
          chart,
        };
      },
    },
    {
      id: 'i',
      statement:
        'With EATA, ENT and SWR too, correct predictions of known classes pass the filter more often than all others',
      async measure(lab): Promise<Finding> {
        const measured: Record<string, number> = {};
        let holds = true;
        for (const [setting, pairs] of [
          [normSetting, normPairs],
          [allSetting, allPairs],
        ] as const) {
          for (const [, name] of pairs) {
            const kept = await filtering(lab, setting, variants[name]);
            measured[`${name}: correct that pass`] = kept.keptCorrect;
            measured[`${name}: others that pass`] = kept.keptNoisy;
            holds &&= kept.keptCorrect > kept.keptNoisy;
          }
        }
        return { holds, measured };
      },
    },
  ],
};
