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
/** Sets on which the zoo's model is neither at chance nor at home. */
const dataOf = ({ quick }: Lab) =>
  quick ? ['weather'] : ['animals', 'food', 'transport', 'weather', 'brands'];

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
      statement:
        'The gain of CoOp over zero-shot grows with the shots, and is one at 16 shots (epochs by shots as in the paper)',
      async measure(lab) {
        // The paper trains longer on more shots.
        const epochs = lab.quick ? { 1: 10, 16: 40 } : { 1: 50, 4: 100, 16: 200 };
        const gains: { x: number; y: number; error: number }[] = [];
        for (const [shots, n] of Object.entries(epochs)) {
          const trials = await lab.study({
            protocol: 'few-shot',
            methods: ['zero-shot', withEpochs(n)],
            data: dataOf(lab),
            shots: [Number(shots)],
            seeds: seedsOf(lab),
          });
          const tuned = figure(trials, { label: `${n}` }, testNames.all)!;
          const zero = figure(trials, { label: 'zero-shot' }, testNames.all)!;
          gains.push({ x: Number(shots), y: tuned.mean - zero.mean, error: tuned.std });
        }
        return {
          measured: Object.fromEntries(
            gains.map(({ x, y }) => [`gain at ${x} shot${x === 1 ? '' : 's'}`, y]),
          ),
          holds: gains.every(({ y }, i) => i === 0 || y > gains[i - 1]!.y) && gains.at(-1)!.y > 0,
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
