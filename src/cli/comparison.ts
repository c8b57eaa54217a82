/** What `compare` shows of a study: rows for a table, and charts. */
import { type Chart, type Figure, figure, type Protocol, type StudyTrial } from '../methods/index.ts';

/** One method at one number of shots: a figure for each column. */
export interface Row {
  readonly data: string;
  readonly method: string;
  readonly shots: number;
  readonly figures: readonly { readonly test: string; readonly figure: Figure | undefined }[];
}

/** The row over all data sets; of base-to-new with H of the averages. */
export const average = 'average';

const inOrder = <T>(values: readonly T[]): T[] => [...new Set(values)];

/** The columns of one data set: its tests, and what is computed of them. */
function columnsOf(protocol: Protocol, trials: readonly StudyTrial[]): string[] {
  const tests = Object.keys(trials[0]!.tests);
  if (protocol === 'base-to-new') return [...tests, 'H'];
  return protocol === 'few-shot' ? tests : [...tests, 'targets'];
}

/** Rows by data set, method and shots; then the averages, where there are several data sets with the same tests. */
export function rowsOf(trials: readonly StudyTrial[]): Row[] {
  const { protocol } = trials[0]!;
  const methods = inOrder(trials.map((t) => t.label));
  const shots = inOrder(trials.map((t) => t.shots));
  const sources = inOrder(trials.map((t) => t.data));
  const of = (data: string | undefined, columns: readonly string[]) =>
    methods.flatMap((method) =>
      shots.map((k) => ({
        data: data ?? average,
        method,
        shots: k,
        figures: columns.map((test) => ({
          test,
          figure: figure(trials, { label: method, data, shots: k }, test),
        })),
      })),
    );
  const columns = sources.map((data) =>
    columnsOf(
      protocol,
      trials.filter((t) => t.data === data),
    ),
  );
  const shared = columns[0]!.filter((column) => columns.every((other) => other.includes(column)));
  return [
    ...sources.flatMap((data, i) => of(data, columns[i]!)),
    ...(sources.length > 1 ? of(undefined, shared) : []),
  ];
}

/** Accuracy against shots, one chart for each data set and column, a line a method. */
export function chartsOf(rows: readonly Row[]): Chart[] {
  return inOrder(rows.map((r) => r.data)).flatMap((data) => {
    const own = rows.filter((r) => r.data === data);
    return own[0]!.figures.map(({ test }, column) => ({
      title: `${data}${own[0]!.figures.length > 1 ? `: ${test}` : ''}`,
      xLabel: 'shots',
      yLabel: 'accuracy',
      series: inOrder(own.map((r) => r.method)).map((name) => ({
        name,
        points: own
          .filter((r) => r.method === name)
          .flatMap((r) => {
            const shown = r.figures[column]!.figure;
            return shown ? [{ x: r.shots, y: shown.mean, error: shown.std }] : [];
          }),
      })),
    }));
  });
}

/** "61.2 ± 0.8": percent, mean and deviation over seeds; a dash where the method cannot be tested so. */
export function cellOf(f: Figure | undefined): string {
  if (!f) return '–';
  const mean = (100 * f.mean).toFixed(1);
  return f.values.length > 1 ? `${mean} ± ${(100 * f.std).toFixed(1)}` : mean;
}
