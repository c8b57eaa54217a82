import { didYouMean } from '../graph/nearest.ts';
import { type Activation, activations } from '../nn/index.ts';

export type Json = Record<string, unknown>;

/** Reads keys of a config.json; what is wrong is an error that names the key. null counts as absent. */
export interface ConfigReader {
  number(key: string, fallback: number): number;
  /** A whole number from 1 on. */
  count(key: string, fallback: number): number;
  flag(key: string, fallback: boolean): boolean;
  activation(key: string, fallback: Activation): Activation;
  /** Throws where the key has another value than these: the model would compute something else. */
  only(key: string, ...values: readonly unknown[]): void;
}

/** A reader of `json`, which lies in config.json at `where` (default: the file itself). */
export function configReader(json: Json, where = ''): ConfigReader {
  const name = (key: string) => (where ? `${where}.${key}` : key);
  const fail = (key: string, wanted: string) =>
    new Error(`config.json: ${name(key)} must be ${wanted}, not ${JSON.stringify(json[key])}`);
  const number = (key: string, fallback: number): number => {
    const value = json[key] ?? fallback;
    if (typeof value !== 'number' || !Number.isFinite(value)) throw fail(key, 'a number');
    return value;
  };
  return {
    number,
    count(key, fallback) {
      const value = number(key, fallback);
      if (!Number.isInteger(value) || value < 1) throw fail(key, 'a positive whole number');
      return value;
    },
    flag(key, fallback) {
      const value = json[key] ?? fallback;
      if (typeof value !== 'boolean') throw fail(key, 'true or false');
      return value;
    },
    activation(key, fallback) {
      const value = String(json[key] ?? fallback);
      if (!Object.hasOwn(activations, value)) {
        const near = didYouMean(value, Object.keys(activations));
        throw new Error(`config.json: unknown activation ${name(key)} "${value}"${near}`);
      }
      return value as Activation;
    },
    only(key, ...values) {
      const value = json[key] ?? undefined;
      if (value !== undefined && !values.includes(value)) {
        throw fail(key, values.map((v) => JSON.stringify(v)).join(' or '));
      }
    },
  };
}

/** Throws unless config.json is of one of these model types. */
export function requireModelType(json: Json, ...types: readonly string[]): void {
  if (json.model_type !== undefined && !types.includes(String(json.model_type))) {
    const wanted = types.map((type) => `"${type}"`).join(' or ');
    throw new Error(`config.json describes a "${json.model_type}" model, not ${wanted}`);
  }
}

/** Throws unless `width` is a multiple of `heads`. */
export function requireHeads(width: number, heads: number, where = 'the'): void {
  if (width % heads !== 0) {
    throw new Error(`config.json: ${where} width ${width} is not a multiple of its ${heads} heads`);
  }
}
