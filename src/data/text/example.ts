/** One text with what should be said of it. */
export interface TextExample {
  readonly id: string;
  /** Its parts by name, in the order they are written: { sentence } or { premise, hypothesis }. */
  readonly parts: Readonly<Record<string, string>>;
  /** What a text-to-text model should write: a class name, a number, a span. */
  readonly target: string;
  /** All accepted answers, where there are several. */
  readonly answers?: readonly string[];
  /** Position in `classes` (classification). */
  readonly label?: number;
  /** Of a regression. */
  readonly score?: number;
}

/** The text of an example as T5 reads it: `task key1: text1 key2: text2` (Raffel et al. 2020). */
export const inputText = ({ parts }: TextExample, task?: string): string =>
  [...(task ? [task] : []), ...Object.entries(parts).map(([key, text]) => `${key}: ${text}`)].join(' ');
