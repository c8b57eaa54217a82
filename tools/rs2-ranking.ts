/**
 * Ranks all methods that select images by accuracy and by time to accuracy, on MNIST and on drawings of weather, and writes
 * docs/results/rs2-ranking.md. Takes hours; stopped and started again it goes on, as long as the code is the same.
 *
 *     npx tsx tools/rs2-ranking.ts
 */

import { writeAtomic } from '../src/hub/index.ts';
import { roundOf } from '../src/methods/rs2/time-to-accuracy.ts';
import { entriesOf, everyMethod, icons, mnist, trialsOf } from '../src/methods/rs2/trials.ts';
import { table } from './docs.ts';

const plan = { methods: everyMethod, shares: [0.01, 0.05, 0.1, 0.3], seeds: [1, 2, 3] };
const place = {
  dir: 'runs/reproduce/rs2-ranking',
  signal: undefined,
  say: (text: string) => process.stderr.write(`${text}\n`),
};
const percent = (share: number): string => (100 * share).toFixed(1);

const parts: string[] = [
  '# All selectors, ranked',
  '',
  'Written by `npx tsx tools/rs2-ranking.ts`. Mean ± deviation of three seeds.',
  '',
];
for (const task of [mnist, icons]) {
  const entries = entriesOf(await trialsOf(place, task, plan));
  for (const share of plan.shares) {
    const rows = entries
      .filter((e) => e.share === share)
      .sort((a, b) => b.mean - a.mean)
      .map((e) => [
        e.method,
        `${percent(e.mean)} ± ${percent(e.deviation)}`,
        e.selection.toFixed(1),
        e.curve.at(-1)!.seconds.toFixed(1),
        ...task.targets.map((t) => {
          const round = roundOf(e.curve, t);
          return round ? `${round.seconds.toFixed(1)} s, ${Math.round(round.steps)} steps` : '–';
        }),
      ]);
    const header = [
      'method',
      'accuracy (%)',
      'selection (s)',
      'end (s)',
      ...task.targets.map((t) => `to ${percent(t)} %`),
    ];
    parts.push(
      `## ${task.name}, ${percent(share)} %`,
      '',
      table([header, header.map(() => '---'), ...rows]),
      '',
    );
  }
}
await writeAtomic('docs/results/rs2-ranking.md', [parts.join('\n')]);
