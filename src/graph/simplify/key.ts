import { bytesOf, type HostTensor } from '../host.ts';
import type { Node, Tensor } from '../tensor.ts';

const ids = new WeakMap<object, number>();
let nextId = 0;
/** A number for each object. */
function identity(x: object): number {
  const known = ids.get(x);
  if (known !== undefined) return known;
  ids.set(x, nextId);
  return nextId++;
}

/** Constants up to this many elements are equal by content, larger ones by the array that holds them. */
const SMALL = 64;
export const constantKey = (value: HostTensor): string =>
  `${value.dtype}[${value.shape}] ${value.data.length <= SMALL ? bytesOf(value) : `#${identity(value.data)}`}`;

/** Ops whose operands may change places. */
const commutative = new Set(['add', 'mul', 'maximum', 'minimum', 'equal', 'and', 'or']);

/** Equal for nodes that compute the same; undefined for those that must stay apart. */
export function keyOf(node: Node, inputs: readonly Tensor[]): string | undefined {
  if (node.op === 'alias') return undefined;
  const names = inputs.map((t) => `${t.node.id}.${t.index}`);
  if (commutative.has(node.op)) names.sort();
  return `${node.op} ${names} ${attrsKey(node)}`;
}

const texts = new WeakMap<object, string>();
function attrsKey(node: Node): string {
  const { attrs } = node;
  const known = texts.get(attrs);
  if (known !== undefined) return known;
  const text = Object.entries(attrs)
    .map(([name, value]) => `${name}:${valueKey(value)}`)
    .join(' ');
  texts.set(attrs, text);
  return text;
}

function valueKey(value: unknown): string {
  if (Object.is(value, -0)) return '-0';
  if (typeof value !== 'object' || value === null) return String(value);
  if (Array.isArray(value)) return value.join();
  return 'data' in value ? constantKey(value as HostTensor) : `#${identity(value)}`;
}
