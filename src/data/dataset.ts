/** Labelled images, decoded only when they are asked for. */

/** An 8-bit RGB picture: `data[(y * width + x) * 3 + channel]`, 0 to 255. */
export interface Pixels {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** Whether all pixels have three equal values. */
export function isGrey({ data }: Pixels): boolean {
  for (let i = 0; i < data.length; i += 3)
    if (data[i] !== data[i + 1] || data[i] !== data[i + 2]) return false;
  return true;
}

export interface Example {
  /** Names the image in reports and orders it for sampling; the same on every machine. Unique in its data set. */
  readonly id: string;
  /** Index into the data set's `classes`. */
  readonly label: number;
  /** Style or source, where the data knows one. */
  readonly domain?: string;
  /** Decodes the image; each call may read and decode again. */
  image(): Promise<Pixels>;
}

export interface Dataset {
  /** What to call it in reports. */
  readonly name: string;
  /** Differs whenever an image of the same id may look different; without it nothing is kept between processes. */
  readonly version?: string;
  /** Class names as they go into prompts: words with spaces. */
  readonly classes: readonly string[];
  /** The names as the source spells them (folders, labels), where they differ from `classes`. */
  readonly sourceClasses?: readonly string[];
  readonly examples: readonly Example[];
}

/** The examples that `keep` accepts; the classes stay as they are. */
export function filterExamples(data: Dataset, keep: (example: Example) => boolean): Dataset {
  return { ...data, examples: data.examples.filter(keep) };
}

/** Only the classes with these indices, relabelled from 0 in the order given. */
export function subsetClasses(data: Dataset, labels: readonly number[]): Dataset {
  const position = new Map(labels.map((label, i) => [label, i]));
  const pick = (names: readonly string[]) =>
    labels.map((label) => {
      const name = names[label];
      if (name === undefined) throw new Error(`class ${label} is not one of ${names.length} classes`);
      return name;
    });
  return {
    ...data,
    classes: pick(data.classes),
    ...(data.sourceClasses && { sourceClasses: pick(data.sourceClasses) }),
    examples: data.examples.flatMap((e) => {
      const label = position.get(e.label);
      return label === undefined ? [] : [{ ...e, label }];
    }),
  };
}

/** The examples of each class, in the data set's order. */
export function byClass(data: Dataset): Example[][] {
  const groups: Example[][] = data.classes.map(() => []);
  for (const e of data.examples) groups[e.label]!.push(e);
  return groups;
}
