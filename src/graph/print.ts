import { nodesOf } from './grad.ts';
import { show } from './ops/common.ts';
import { constantNumber, type Node, type Tensor } from './tensor.ts';

/** Writes a graph as text, one node a line, in evaluation order: a readable oracle for tests. */
export function print(outputs: Record<string, Tensor>): string {
  const names = new Map<Tensor, string>();
  const lines: string[] = [];
  for (const node of nodesOf(Object.values(outputs))) {
    const scalar = constantNumber(node.outputs[0]!);
    if (scalar !== undefined) {
      names.set(node.outputs[0]!, String(Number(scalar.toPrecision(7))));
      continue;
    }
    const label = node.outputs.map((t) => {
      names.set(t, `%${lines.length}${t.index ? `.${t.index}` : ''}`);
      return show(t);
    });
    const args = node.inputs.map((t) => names.get(t)).join(', ');
    lines.push(`%${lines.length} = ${node.op}(${args})${printAttrs(node)} : ${label.join(', ')}`);
  }
  for (const [name, t] of Object.entries(outputs)) lines.push(`${name} = ${names.get(t)}`);
  return lines.join('\n');
}

function printAttrs(node: Node): string {
  if (node.op === 'constant') return '';
  if (node.op === 'weight') return ` ${(node as Node<'weight'>).attrs.weight.name}`;
  if (node.op === 'input') return ` ${(node as Node<'input'>).attrs.name}`;
  const text = Object.entries(node.attrs).flatMap(([key, value]) => {
    if (value === false || (key === 'alpha' && value === 1) || key === 'shape' || key === 'to') return [];
    if (value === true) return [key];
    if (typeof value === 'function') return [];
    return [`${key}=${Array.isArray(value) ? `[${value}]` : value}`];
  });
  return text.length ? ` {${text.join(' ')}}` : '';
}
