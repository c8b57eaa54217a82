import { bars, eptWith, prompts, stepSeconds, trialsOf } from '../dept/trials.ts';
import { accuracies, figures, mean, type Trials } from '../lm/trials.ts';
import type { Reproduction } from '../reproduction.ts';
import { figureOf } from '../study/summary.ts';

const accuracy = (trials: Trials) => mean(accuracies(trials));

/** Gains over a reference on each task, mean over seeds: their deviation over tasks. */
function spread(trials: Trials, reference: Trials): number {
  const gains = trials[0]!.map((_, i) =>
    mean(trials.map((own, seed) => own[i]!.test - reference[seed]![i]!.test)),
  );
  return figureOf(gains).std;
}

/** Lan et al. 2025, by the card's directional claims; where the sources leave the method open, as docs/methods/ept.md says. */
export const eptClaims: Reproduction = {
  slug: 'ept',
  paper: 'Lan et al., AAAI 2025, arXiv 2405.11464 (equations partly reconstructed)',
  claims: [
    {
      id: 'a',
      statement: 'EPT is more accurate than a plain prompt of its length',
      async measure(lab) {
        const found = {
          'PT(m)': await trialsOf(lab, prompts['PT(m)']),
          EPT: await trialsOf(lab, eptWith()),
        };
        return {
          holds: accuracy(found.EPT) > accuracy(found['PT(m)']),
          measured: figures(found),
          chart: bars(lab, 'The same length', found),
        };
      },
    },
    {
      id: 'b',
      statement: 'EPT is at least as accurate as a plain prompt of as many parameters, and as DePT',
      async measure(lab) {
        const found = {
          'PT(l)': await trialsOf(lab, prompts['PT(l)']),
          DePT: await trialsOf(lab, prompts.DePT),
          EPT: await trialsOf(lab, eptWith()),
        };
        return {
          holds: accuracy(found.EPT) >= Math.max(accuracy(found['PT(l)']), accuracy(found.DePT)),
          measured: figures(found),
          chart: bars(lab, 'One budget', found),
        };
      },
    },
    {
      id: 'c',
      statement: 'Without fusion, and with one space in place of two, EPT is less accurate',
      async measure(lab) {
        const found = {
          EPT: await trialsOf(lab, eptWith()),
          'without fusion': await trialsOf(lab, eptWith({ fusion: false })),
          'one space': await trialsOf(lab, eptWith({ spaces: 1 })),
        };
        return {
          holds:
            accuracy(found.EPT) > Math.max(accuracy(found['without fusion']), accuracy(found['one space'])),
          measured: figures(found),
          chart: bars(lab, 'Ablations', found),
        };
      },
    },
    {
      id: 'd',
      statement:
        'Two spaces give gains over the plain prompt that differ less between tasks than one space does',
      async measure(lab) {
        const plain = await trialsOf(lab, prompts['PT(m)']);
        const [two, one] = [
          spread(await trialsOf(lab, eptWith()), plain),
          spread(await trialsOf(lab, eptWith({ spaces: 1 })), plain),
        ];
        return {
          holds: two < one,
          measured: { 'deviation of gains, two spaces': two, 'deviation of gains, one space': one },
        };
      },
    },
    {
      id: 'e',
      statement:
        'A step of EPT takes less time than one of the long prompt, and at most a tenth more than one of the short',
      async measure(lab) {
        const [long, short, own] = await stepSeconds(lab, [prompts['PT(l)'], prompts['PT(m)'], eptWith()]);
        return {
          holds: own! < long! && own! <= 1.1 * short!,
          measured: { 'PT(l), ms': 1000 * long!, 'PT(m), ms': 1000 * short!, 'EPT, ms': 1000 * own! },
        };
      },
    },
  ],
};
