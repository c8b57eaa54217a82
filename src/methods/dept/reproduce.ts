import { toFloat32 } from '../../graph/index.ts';
import { loadAdapter } from '../../hub/index.ts';
import { accuracies, figures, mean, type Trials } from '../lm/trials.ts';
import type { Reproduction } from '../reproduction.ts';
import { offsetNames } from './method.ts';
import { bars, lengths, oneRate, prompts, stepSeconds, trialsOf } from './trials.ts';

/** Norms of the rows of A·B, mean over trials; scaled by c, which all rows share, they would rank the same. */
async function rowNorms(trials: Trials): Promise<number[]> {
  const all: number[][] = [];
  for (const { dir } of trials.flat()) {
    const { tensors } = await loadAdapter(dir);
    const [a, b] = [toFloat32(tensors[offsetNames.a]!), toFloat32(tensors[offsetNames.b]!)];
    const [rank, width] = b.shape as [number, number];
    all.push(
      Array.from({ length: a.shape[0]! }, (_, i) =>
        Math.hypot(
          ...Array.from({ length: width }, (_, j) => {
            let sum = 0;
            for (let k = 0; k < rank; k++) sum += a.data[i * rank + k]! * b.data[k * width + j]!;
            return sum;
          }),
        ),
      ),
    );
  }
  return all[0]!.map((_, i) => mean(all.map((norms) => norms[i]!)));
}

/** Shi & Lipani 2024, by the card's directional claims. */
export const deptClaims: Reproduction = {
  slug: 'dept',
  paper: 'Shi & Lipani, ICLR 2024, arXiv 2309.05173',
  claims: [
    {
      id: 'a',
      statement: 'With as many parameters DePT is at least as accurate as prompt tuning with l tokens',
      async measure(lab) {
        const found = {
          'PT(l)': await trialsOf(lab, prompts['PT(l)']),
          DePT: await trialsOf(lab, prompts.DePT),
        };
        return {
          holds: mean(accuracies(found.DePT)) >= mean(accuracies(found['PT(l)'])),
          measured: figures(found),
          chart: bars(lab, 'One budget', found),
        };
      },
    },
    {
      id: 'b',
      statement: 'DePT is more accurate than its short prompt alone',
      async measure(lab) {
        const found = {
          'PT(m)': await trialsOf(lab, prompts['PT(m)']),
          DePT: await trialsOf(lab, prompts.DePT),
        };
        return {
          holds: mean(accuracies(found.DePT)) > mean(accuracies(found['PT(m)'])),
          measured: figures(found),
          chart: bars(lab, 'With and without the offset', found),
        };
      },
    },
    {
      id: 'c',
      statement: 'Two learning rates are at least as good as one for prompt and pair',
      async measure(lab) {
        const found = {
          'two rates': await trialsOf(lab, prompts.DePT),
          'one rate': await trialsOf(lab, oneRate),
        };
        return {
          holds: mean(accuracies(found['two rates'])) >= mean(accuracies(found['one rate'])),
          measured: figures(found),
          chart: bars(lab, 'Learning rates', found),
        };
      },
    },
    {
      id: 'd',
      statement: 'A step of DePT takes less time than one of prompt tuning, the less the longer the prompt',
      async measure(lab) {
        const measured: Record<string, number> = {};
        const ratios: number[] = [];
        for (const factor of [1, 2]) {
          const [long, short] = [factor * lengths.long, factor * lengths.short];
          const [plain, own] = await stepSeconds(lab, [
            { method: 'prompt-tuning', options: { length: long } },
            { method: 'dept', options: { length: short, budget: long, init: 'vocabulary' } },
          ]);
          ratios.push(own! / plain!);
          measured[`PT(${long}), ms`] = 1000 * plain!;
          measured[`DePT(${short}), ms`] = 1000 * own!;
          measured[`ratio at l = ${long}`] = own! / plain!;
        }
        return { holds: ratios[0]! < 1 && ratios[1]! < ratios[0]!, measured };
      },
    },
    {
      id: 'e',
      statement: 'The offset is larger at the first positions of the text than at the last',
      async measure(lab) {
        const norms = await rowNorms(await trialsOf(lab, prompts.DePT));
        const quarter = norms.length / 4;
        const [first, last] = [mean(norms.slice(0, quarter)), mean(norms.slice(-quarter))];
        return {
          holds: first > last,
          measured: { 'first quarter': first, 'last quarter': last },
          chart: {
            title: 'Length of the rows of A·B',
            xLabel: 'position in the text',
            yLabel: 'norm',
            series: [{ name: 'mean over tasks and seeds', points: norms.map((y, x) => ({ x, y })) }],
          },
        };
      },
    },
  ],
};
