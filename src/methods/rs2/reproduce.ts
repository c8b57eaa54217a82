import type { Chart, Finding, Lab, Reproduction } from '../reproduction.ts';
import { figureOf } from '../study/summary.ts';
import { roundOf } from './time-to-accuracy.ts';
import { digits, type Entry, entriesOf, type Plan, resampling, type Task, trialsOf } from './trials.ts';

const hardestFirst = ['el2n', 'grand', 'margin', 'entropy'];
const fixed = ['random', 'herding', 'moderate', 'facility-location', 'gradmatch', ...hardestFirst];

const planOf = ({ quick }: Lab): Plan & { task: Task } => ({
  task: quick ? { ...digits, scoringEpochs: 2, runs: 1 } : digits,
  methods: quick ? ['rs2', 'random', 'herding', 'margin'] : ['full', ...resampling, ...fixed],
  shares: quick ? [0.02, 0.3] : [0.02, 0.1, 0.3],
  seeds: quick ? [1] : [1, 2, 3],
});

const percent = (share: number) => `${+(100 * share).toFixed(1)} %`;
const at = (entries: readonly Entry[], method: string, share: number): Entry => {
  const found = entries.find((e) => e.method === method && e.share === share);
  if (!found) throw new Error(`nothing was measured of ${method} at ${percent(share)}`);
  return found;
};

const entries = async (lab: Lab): Promise<Entry[]> => {
  const plan = planOf(lab);
  return entriesOf(await trialsOf(lab, plan.task, plan));
};

const smallShares = (lab: Lab) => planOf(lab).shares.filter((s) => s <= 0.02);

function accuracyChart(all: readonly Entry[]): Chart {
  const shown = ['full', 'rs2', 'random', 'herding', 'margin', 'grand', 'moderate', 'facility-location'];
  return {
    title: 'final accuracy on digits',
    xLabel: 'share of the images (%)',
    yLabel: 'test accuracy (%)',
    series: shown.flatMap((name) => {
      const own = all.filter((e) => e.method === name);
      const points = own.map((e) => ({
        x: +(100 * e.share).toFixed(1),
        y: 100 * e.mean,
        error: 100 * e.deviation,
      }));
      return own.length ? [{ name, points }] : [];
    }),
  };
}

/** Time to `target` at the largest share, where most reach it. */
function timeChart(all: readonly Entry[], share: number, target: number): Chart {
  const points = all.flatMap(({ method, curve, share: own }) => {
    const round = own === share ? roundOf(curve, target) : undefined;
    return round ? [{ x: method, y: round.seconds }] : [];
  });
  return {
    title: `time to ${percent(target)} at ${percent(share)}`,
    xLabel: '',
    yLabel: 'seconds, selection counted',
    series: [{ name: 'seconds', points }],
  };
}

export const rs2Claims: Reproduction = {
  slug: 'rs2',
  paper: 'Okanovic et al., ICLR 2024, arXiv 2305.18424',
  claims: [
    {
      id: 'a',
      statement: 'At every share up to 10 %, RS2 is more accurate than every selection that stays fixed',
      async measure(lab): Promise<Finding> {
        const all = await entries(lab);
        const measured: Record<string, number> = {};
        let holds = true;
        for (const { method, share, mean, deviation } of all) {
          measured[`${percent(share)}: ${method}`] = mean;
          measured[`${percent(share)}: ${method}, deviation`] = deviation;
          if (share <= 0.1 && method !== 'full' && !resampling.includes(method))
            holds &&= at(all, 'rs2', share).mean > mean;
        }
        return { holds, measured, chart: accuracyChart(all) };
      },
    },
    {
      id: 'b',
      statement: 'Hardest-first scores are below static random at the smallest share and reach it by 30 %',
      async measure(lab): Promise<Finding> {
        const all = await entries(lab);
        const { methods, shares } = planOf(lab);
        const measured: Record<string, number> = {};
        let holds = true;
        for (const method of methods.filter((m) => hardestFirst.includes(m))) {
          const gain = (share: number) => at(all, method, share).mean - at(all, 'random', share).mean;
          const [least, most] = [shares[0]!, shares.at(-1)!];
          measured[`${percent(least)}: ${method} − random`] = gain(least);
          measured[`${percent(most)}: ${method} − random`] = gain(most);
          holds &&= gain(least) < 0 && gain(most) >= -0.005;
        }
        return { holds, measured, note: 'Reached is what is at most half a point below.' };
      },
    },
    {
      id: 'c',
      statement: 'At 2 %, every method with a scoring network starts after RS2 is done, and ends lower',
      async measure(lab): Promise<Finding> {
        const all = await entries(lab);
        const measured: Record<string, number> = {};
        let holds = true;
        for (const share of smallShares(lab)) {
          const rs2 = at(all, 'rs2', share);
          measured[`${percent(share)}: seconds of rs2`] = rs2.curve.at(-1)!.seconds;
          for (const { method, selection, mean } of all.filter((e) => e.share === share && e.selection > 0)) {
            if (method === 'random') continue;
            measured[`${percent(share)}: seconds of ${method} before its first round`] = selection;
            holds &&= selection > rs2.curve.at(-1)!.seconds && mean < rs2.mean;
          }
        }
        return { holds, measured };
      },
    },
    {
      id: 'd',
      statement:
        'RS2 reaches each target accuracy that it reaches before every selection with a scoring network',
      async measure(lab): Promise<Finding> {
        const all = await entries(lab);
        const { task, shares } = planOf(lab);
        const measured: Record<string, number> = {};
        let holds = true;
        for (const share of shares) {
          for (const target of task.targets) {
            const own = roundOf(at(all, 'rs2', share).curve, target)?.seconds;
            for (const { method, curve, selection } of all.filter((e) => e.share === share)) {
              const round = roundOf(curve, target);
              if (!round) continue;
              const { seconds, steps } = round;
              const where = `${percent(share)}: ${method} to ${percent(target)}`;
              measured[`${where}, seconds`] = seconds;
              measured[`${where}, steps`] = steps;
              if (own !== undefined && selection > 0 && method !== 'random') holds &&= seconds > own;
            }
          }
        }
        const chart = timeChart(all, shares.at(-1)!, task.targets[1]!);
        return { holds, measured, chart, note: 'Seconds count the selection, steps do not.' };
      },
    },
    {
      id: 'e',
      statement:
        'At every share, RS2 is more accurate than hardest-first scores that are taken anew every round (RC)',
      async measure(lab): Promise<Finding> {
        const { task, methods, shares, seeds } = planOf(lab);
        const rescored = methods.filter((m) => hardestFirst.includes(m)).map((m) => `rescored-${m}`);
        const trials = await trialsOf(lab, task, { methods: ['rs2', ...rescored], shares, seeds });
        const measured: Record<string, number> = {};
        let holds = true;
        for (const share of shares) {
          const accuracy = (method: string) => {
            const own = trials.filter((t) => t.method === method && t.share === share);
            return figureOf(own.map((t) => t.rounds.at(-1)!.accuracy));
          };
          const rs2 = accuracy('rs2').mean;
          for (const method of ['rs2', ...rescored]) {
            const { mean, std } = accuracy(method);
            measured[`${percent(share)}: ${method}`] = mean;
            measured[`${percent(share)}: ${method}, deviation`] = std;
            if (method !== 'rs2') holds &&= rs2 > mean;
          }
        }
        return { holds, measured };
      },
    },
  ],
};
