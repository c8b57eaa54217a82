/**
 * Ranks all methods that select images by accuracy and by time to accuracy, on drawings of weather or on the whole of MNIST.
 * Takes up to hours: what is measured stands in docs/results/rs2-ranking-TASK.json after each training, and is not measured
 * again before that file is removed; docs/results/rs2-ranking-TASK.md shows it. The clock counts CPU seconds of one thread, so
 * that others may use the machine meanwhile: seeds and shares may be measured in processes of their own.
 *
 *     ATTUNE_THREADS=1 npx tsx tools/rs2-ranking.ts weather|mnist [--seeds 1,2,3] [--shares 0.01,0.05,0.1,0.3]
 */

import { parseArgs } from 'node:util';
import { readJson, writeAtomic } from '../src/hub/index.ts';
import { cpuClock, roundOf } from '../src/methods/rs2/time-to-accuracy.ts';
import {
  type Entry,
  entriesOf,
  everyMethod,
  icons,
  mnist,
  type Task,
  type Trial,
  trialsOf,
} from '../src/methods/rs2/trials.ts';
import { table } from './docs.ts';

const allShares = [0.01, 0.05, 0.1, 0.3];
const tasks: Readonly<Record<string, Task>> = {
  weather: {
    ...icons,
    rounds: 20,
    activeEpochs: 20,
    activeStep: 64,
    measurements: 10,
    targets: [0.1, 0.2, 0.3, 0.4],
  },
  mnist: {
    ...mnist,
    rounds: 5,
    batch: 64,
    scoringEpochs: 3,
    runs: 1,
    activeEpochs: 5,
    activeStep: 3000,
    measurements: 5,
  },
};
const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: 'string', default: '1,2,3' },
    shares: { type: 'string', default: allShares.join() },
  },
});
const numbers = (list: string): number[] => list.split(',').map(Number);
const name = positionals[0] ?? '';
const task = tasks[name];
if (!task || positionals.length > 1) {
  throw new Error(`name a task, ${Object.keys(tasks).join(' or ')}, not "${positionals.join(' ')}"`);
}
const [seeds, shares] = [numbers(flags.seeds), numbers(flags.shares)];
if (seeds.some((seed) => !Number.isSafeInteger(seed)))
  throw new Error(`--seeds are whole numbers, not "${flags.seeds}"`);
if (shares.some((share) => !allShares.includes(share)))
  throw new Error(`--shares are of ${allShares.join()}, not "${flags.shares}"`);
if (process.env.ATTUNE_THREADS !== '1')
  throw new Error('CPU seconds are comparable with one thread only: set ATTUNE_THREADS=1');
const place = {
  dir: 'runs/reproduce/rs2-ranking',
  signal: undefined,
  clock: cpuClock,
  say: (text: string) => process.stderr.write(`${text}\n`),
};
const percent = (share: number): string => (100 * share).toFixed(1);

const file = (ending: string) => `docs/results/rs2-ranking-${name}.${ending}`;
const keyOf = ({ method, share, seed }: Trial): string => `${seed} ${share} ${method}`;

/** All that was measured by this task's plan, other processes' trials among it, in the order of methods. */
async function stored(): Promise<Trial[]> {
  const json = (await readJson(file('json'))) as unknown as { task: Task; trials: Trial[] } | undefined;
  if (json && JSON.stringify(json.task) !== JSON.stringify(task))
    throw new Error(`${file('json')} was measured by another plan: remove it to measure anew`);
  return json?.trials ?? [];
}

const own = new Map<string, Trial>();
await trialsOf(place, task, {
  methods: everyMethod,
  shares,
  seeds,
  known: await stored(),
  async found(trial) {
    own.set(keyOf(trial), trial);
    const all = new Map([...(await stored()).map((t) => [keyOf(t), t] as const), ...own]);
    const trials = [...all.values()].sort(
      (a, b) =>
        a.seed - b.seed || a.share - b.share || everyMethod.indexOf(a.method) - everyMethod.indexOf(b.method),
    );
    const lines = trials.map((t) => JSON.stringify(t)).join(',\n');
    await writeAtomic(file('json'), [`{"task":${JSON.stringify(task)},"trials":[\n${lines}\n]}\n`]);
    await writeAtomic(file('md'), [page(task, trials)]);
  },
});

function page(task: Task, trials: readonly Trial[]): string {
  const entries = entriesOf(trials);
  const seen = [...new Set(trials.map((t) => t.seed))];
  const parts = [
    `# All selectors, ranked: ${task.name}`,
    '',
    `Written by \`npx tsx tools/rs2-ranking.ts ${name}\`. LeNet; mean ± deviation of seeds ${seen.join(', ')}. Seconds are CPU seconds of ` +
      'one thread, selection counted, evaluation left out; the test accuracy is looked at some times in a training, so a target ' +
      'counts as reached at the next look. `full` trains on all images with as many updates, and at least one epoch.',
    '',
    `${task.rounds} rounds, batches of ${task.batch}, test accuracy taken ` +
      `${Math.min(task.rounds, task.measurements)} times. Scoring networks: ${task.scoringEpochs} epochs (the paper: 10), GraNd and EL2N over ` +
      `${task.runs} of them (10). Active learning adds ${task.activeStep} images (1,000) after ${task.activeEpochs} epochs (200).`,
  ];
  const planned = everyMethod.length * allShares.length * seen.length;
  if (trials.length < planned)
    parts.push('', `**${trials.length} of ${planned} trainings are measured: mean ranks are of those.**`);
  const unfinished = ({ method, share }: Entry): string => {
    const count = trials.filter((t) => t.method === method && t.share === share).length;
    return count < seen.length ? ` (${count} of ${seen.length} seeds)` : '';
  };
  const header = [
    'method',
    'accuracy (%)',
    'selection (s)',
    'end (s)',
    ...task.targets.map((t) => `to ${percent(t)} %`),
  ];
  /** Ranks of each method: by accuracy at every share, by time to every target that some method reaches. */
  const ranks = new Map(entries.map((e) => [e.method, { accuracy: [] as number[], time: [] as number[] }]));
  const sections: string[] = [];
  for (const share of allShares) {
    const own = entries.filter((e) => e.share === share).sort((a, b) => b.mean - a.mean);
    for (const [i, e] of own.entries()) ranks.get(e.method)!.accuracy.push(i + 1);
    const times = task.targets.map((target) => {
      const reached = own.map((e) => roundOf(e.curve, target));
      const seconds = reached.flatMap((round) => (round ? [round.seconds] : []));
      const cells = reached.map((round, i) => {
        const rank = round ? 1 + seconds.filter((s) => s < round.seconds).length : own.length;
        if (seconds.length > 0) ranks.get(own[i]!.method)!.time.push(rank);
        return round ? `${rank}. ${round.seconds.toFixed(1)} s, ${Math.round(round.steps)} steps` : '–';
      });
      return cells;
    });
    const rows = own.map((e, i) => [
      `${i + 1}. ${e.method}${unfinished(e)}`,
      `${percent(e.mean)} ± ${percent(e.deviation)}`,
      e.selection.toFixed(1),
      e.curve.at(-1)!.seconds.toFixed(1),
      ...times.map((cells) => cells[i]!),
    ]);
    sections.push('', `## ${percent(share)} %`, '', table([header, header.map(() => '---'), ...rows]));
  }
  const average = (list: readonly number[]) => list.reduce((a, b) => a + b, 0) / list.length;
  const overall = [...ranks].map(([method, r]) => [method, average(r.accuracy), average(r.time)] as const);
  const summary = [
    ['method', 'by accuracy', 'by time'],
    ['---', '---', '---'],
    ...overall
      .sort(([, a], [, b]) => a - b)
      .map(([method, accuracy, time]) => [method, accuracy.toFixed(1), time.toFixed(1)]),
  ];
  parts.push(
    '',
    '## Mean ranks',
    '',
    `Of ${ranks.size}, 1 is best: by accuracy over all shares, by time over all shares and targets that some method reaches; who does not ` +
      'reach one is last. Below, numbers before methods and times are their ranks.',
    '',
    table(summary),
    ...sections,
  );
  return `${parts.join('\n')}\n`;
}
