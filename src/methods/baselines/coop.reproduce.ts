import type { Lab, Reproduction } from '../reproduction.ts';
import { testNames } from '../study/protocols.ts';
import { figure, harmonic } from '../study/summary.ts';

/** The paper's default: one context for all classes, four tokens for new classes. */
const withEpochs = (epochs: number) => ({
  method: 'coop',
  options: { unified: true, epochs },
  label: `${epochs}`,
});

const seedsOf = ({ quick }: Lab) => (quick ? [1, 2] : [1, 2, 3]);
const dataOf = ({ quick }: Lab) => (quick ? ['icons-unseen'] : ['icons', 'icons-unseen']);

/** Zhou et al. 2022 (IJCV), and the comparison of Zhou et al. 2022 (CVPR) on new classes. */
export const coopClaims: Reproduction = {
  slug: 'coop',
  paper: 'Zhou et al., IJCV 2022, arXiv 2109.01134',
  claims: [
    {
      id: 'a',
      statement:
        'CoOp beats zero-shot on base classes and falls below it on new classes as epochs grow (16 shots)',
      async measure(lab) {
        const epochs = lab.quick ? [2, 20] : [5, 25, 100];
        const trials = await lab.study({
          protocol: 'base-to-new',
          methods: ['zero-shot', ...epochs.map(withEpochs)],
          data: dataOf(lab),
          shots: [16],
          seeds: seedsOf(lab),
        });
        const at = (label: string, test: string) => figure(trials, { label }, test)!;
        const longest = `${epochs.at(-1)}`;
        const tests = [testNames.base, testNames.new, harmonic];
        const measured = Object.fromEntries(
          tests.flatMap((test) => [
            [`zero-shot ${test}`, at('zero-shot', test).mean],
            [`CoOp ${test} after ${longest} epochs`, at(longest, test).mean],
          ]),
        );
        const gain = (test: string) => at(longest, test).mean - at('zero-shot', test).mean;
        return {
          measured,
          holds: gain(testNames.base) > 0 && gain(testNames.new) < 0,
          chart: {
            title: 'Base and new classes',
            xLabel: 'epochs (0: zero-shot)',
            yLabel: 'accuracy',
            series: [testNames.base, testNames.new].map((test) => ({
              name: test,
              points: ['zero-shot', ...epochs.map(String)].map((label) => {
                const { mean: y, std: error } = at(label, test);
                return { x: label === 'zero-shot' ? 0 : Number(label), y, error };
              }),
            })),
          },
        };
      },
    },
    {
      id: 'c',
      statement: 'The gain of CoOp over zero-shot grows with the shots',
      async measure(lab) {
        const shots = lab.quick ? [1, 16] : [1, 4, 16];
        const coop = withEpochs(lab.quick ? 10 : 50);
        const trials = await lab.study({
          protocol: 'few-shot',
          methods: ['zero-shot', coop],
          data: dataOf(lab),
          shots,
          seeds: seedsOf(lab),
        });
        const gains = shots.map((k) => {
          const [tuned, zero] = [coop.label, 'zero-shot'].map(
            (label) => figure(trials, { label, shots: k }, testNames.all)!,
          );
          return { x: k, y: tuned!.mean - zero!.mean, error: tuned!.std };
        });
        return {
          measured: Object.fromEntries(gains.map(({ x, y }) => [`gain at ${x} shots`, y])),
          holds: gains.every(({ y }, i) => i === 0 || y > gains[i - 1]!.y),
          chart: {
            title: 'Gain by shots',
            xLabel: 'shots',
            yLabel: 'accuracy − zero-shot',
            series: [{ name: 'CoOp', points: gains }],
          },
        };
      },
    },
  ],
};
