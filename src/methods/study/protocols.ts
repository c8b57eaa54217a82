/** The four protocols of prompt learning: what is trained on, and what is tested on. */
import {
  baseAndNew,
  type DataSplits,
  type Dataset,
  domainsOf,
  fewShot,
  fewShotVal,
  inDomains,
  subsetClasses,
  templateFor,
} from '../../data/index.ts';

export const protocols = ['few-shot', 'base-to-new', 'cross-dataset', 'domain-generalisation'] as const;
export type Protocol = (typeof protocols)[number];

/** Protocols that test on class names which were not trained on. */
export const testsOtherClasses = (protocol: Protocol): boolean =>
  protocol === 'base-to-new' || protocol === 'cross-dataset';

/** The names under which accuracies are reported; targets and domains have their own names. */
export const testNames = { all: 'test', base: 'base', new: 'new', source: 'source' } as const;

/** What one training sees, and what its result is tested on. */
export interface Plan {
  readonly train: Dataset;
  readonly val: Dataset;
  /** Data set, and the hand-written prompt that untrained methods use for it. */
  readonly tests: readonly { readonly name: string; readonly data: Dataset; readonly template: string }[];
}

export interface PlanOptions {
  readonly protocol: Protocol;
  readonly shots: number;
  readonly seed: number;
  /** Other data sets to test on (cross-dataset, domain-generalisation). */
  readonly targets?: readonly DataSplits[];
  /** domain-generalisation without targets: the domain to train on. Default: the one with most training images. */
  readonly domain?: string;
}

/**
 * The few shots and the tests of a protocol. The draw depends on data, shots and seed alone, so that all methods and
 * the protocols few-shot, base-to-new and cross-dataset train on the same images; classes with fewer images keep all.
 * For base-to-new the shots are drawn for all classes first, then split.
 */
export function planOf(data: DataSplits, o: PlanOptions): Plan {
  const template = templateFor(data.train.name);
  const draw = ({ train, val }: Pick<DataSplits, 'train' | 'val'>) => ({
    train: fewShot(train, o.shots, { seed: o.seed, allowFewer: true }),
    val: fewShotVal(val, o.shots, o.seed),
  });
  const { train, val } = draw(data);
  if (o.protocol === 'few-shot') {
    return { train, val, tests: [{ name: testNames.all, data: data.test, template }] };
  }
  if (o.protocol === 'base-to-new') {
    const test = baseAndNew(data.test);
    return {
      train: baseAndNew(train).base,
      val: baseAndNew(val).base,
      tests: [
        { name: testNames.base, data: test.base, template },
        { name: testNames.new, data: test.new, template },
      ],
    };
  }
  if (o.targets?.length) {
    const source = { name: testNames.source, data: data.test, template };
    const others = o.targets.map(({ test }) => ({
      name: test.name,
      data: test,
      // Domain shift keeps the names and the prompt; other data sets have their own.
      template: o.protocol === 'cross-dataset' ? templateFor(test.name) : template,
    }));
    return { train, val, tests: [source, ...others.map((t) => ({ ...t, data: without(t.data, train) }))] };
  }
  if (o.protocol === 'cross-dataset') {
    throw new Error('the protocol cross-dataset needs other data sets to test on: --targets a,b');
  }
  return acrossDomains(data, draw, template, o.domain);
}

/** Without the images that were trained on: built-in data sets share some. */
const without = (data: Dataset, { version, examples }: Dataset): Dataset => {
  if (version === undefined || data.version !== version) return data;
  const seen = new Set(examples.map((e) => e.id));
  return { ...data, examples: data.examples.filter((e) => !seen.has(e.id)) };
};

function acrossDomains(
  data: DataSplits,
  draw: (splits: Pick<DataSplits, 'train' | 'val'>) => Pick<Plan, 'train' | 'val'>,
  template: string,
  wanted: string | undefined,
): Plan {
  const domains = domainsOf(data.train);
  if (domainsOf(data.test).length < 2 || domains.length === 0) {
    throw new Error(
      `${data.train.name} has no domains to generalise over: give data with domains, or --targets with shifted data`,
    );
  }
  const count = (domain: string) => inDomains(data.train, [domain]).examples.length;
  const domain = wanted ?? domains.reduce((a, b) => (count(b) > count(a) ? b : a));
  const source = inDomains(data.train, [domain]);
  const present = [...new Set(source.examples.map((e) => e.label))].sort((a, b) => a - b);
  const only = (set: Dataset) => subsetClasses(set, present);
  const within = (set: Dataset) =>
    only({ ...set, examples: set.examples.filter((e) => e.domain === domain) });
  const test = only(data.test);
  return {
    ...draw({ train: only(source), val: within(data.val) }),
    tests: [domain, ...domainsOf(test).filter((d) => d !== domain)]
      .map((d) => ({
        name: d === domain ? testNames.source : d,
        data: { ...test, examples: test.examples.filter((e) => e.domain === d) },
        template,
      }))
      .filter((t) => t.data.examples.length > 0),
  };
}
