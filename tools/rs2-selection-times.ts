/**
 * Times the selection of 10 % of MNIST's 60,000 training images by every method, or by those that are named, and writes
 * docs/results/rs2-selection-times.md after each. GraNd and EL2N average over 3 pre-trainings where the paper has 10, active learning trains 10 epochs at a time where it has 200.
 *
 *     npx tsx tools/rs2-selection-times.ts [METHOD]...
 */
import { loadImages, openData } from '../src/data/index.ts';
import { writeAtomic } from '../src/hub/index.ts';
import { findSelector, selectors } from '../src/methods/rs2/list.ts';
import { Scoring, scoringOptions } from '../src/methods/rs2/scoring.ts';
import { selectImages, selectionOptions } from '../src/methods/rs2/select.ts';
import { table } from './docs.ts';

const training = { runs: 3, activeEpochs: 10 };
const images = await loadImages((await openData('mnist')).train);
const scoring = new Scoring(images, scoringOptions.parse(training), 1);
const { seconds: pretraining } = await scoring.timed(() => scoring.run());
const wanted = process.argv.slice(2).map(findSelector);
const rows: string[][] = [];
const header = ['method', 'images kept', 'seconds'];
for (const { name } of wanted.length ? wanted : selectors) {
  const options = selectionOptions.parse({ ...training, method: name, fraction: 0.1 });
  const { indices, seconds } = await selectImages(images, options, { scoring });
  rows.push([`\`${name}\``, String(indices.length), seconds.toFixed(1)]);
  process.stderr.write(`${rows.at(-1)!.join(' ')}\n`);
  const text = [
    '# Seconds to select 10 % of 60,000 images',
    '',
    'Written by `npx tsx tools/rs2-selection-times.ts`. MNIST and LeNet on two cores; pre-training of scoring networks is counted, ' +
      `one of 10 epochs took ${pretraining.toFixed(1)} s. GraNd and EL2N average over 3 of them (the paper: 10), active learning trains ` +
      '10 epochs at a time (the paper: 200) and adds 1,000 images.',
    '',
    table([header, header.map(() => '---'), ...rows]),
    '',
  ];
  await writeAtomic('docs/results/rs2-selection-times.md', [text.join('\n')]);
}
await scoring.release();
