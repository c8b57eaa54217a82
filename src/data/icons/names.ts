/** From an icon's file name to the thing it shows: `ph:house-duotone` and `ic:outline-house` are both "house". */

export interface IconName {
  /** Lower-case words with spaces, e.g. "shopping cart". */
  readonly label: string;
  /** What was stripped, e.g. "outline" or "24 filled"; "" for a set's plain drawing. */
  readonly style: string;
  /** Grid size the name carries (fluent's `-24-`), 0 when none. Drawings that differ only by it are one drawing. */
  readonly size: number;
  /** The label with its ordinal: "home 2" is another drawing of "home". */
  readonly stem: string;
}

/** Words that only say how something is drawn. Never stripped when nothing would remain. */
const styleWords = new Set(
  (
    'outline outlined filled fill solid duotone twotone linear broken rounded stroke regular alt variant colored ' +
    'sharp expressive'
  ).split(' '),
);
/** Words that are style in these sets alone; elsewhere "traffic light" and "chart line" mean what they say. */
const setWords: Record<string, string> = {
  clarity: 'line',
  majesticons: 'line',
  marketeq: 'line',
  stash: 'light',
  uiw: 'o',
  vs: 'o',
  'dinkie-icons': 'small',
  healthicons: '24px negative',
  jam: 'f',
};
const setPrefixes: Record<string, RegExp> = {
  ion: /^(?:ios|md|logo)-/,
  bx: /^(?:bxs|bxl|bx)-/,
  iconoir: /^iconoir-/,
  'vscode-icons': /^(?:file|folder)-type-/,
  streamline: /^(?:interface-essential|interface)-/,
  'streamline-block':
    /^(?:arrowheads|basic-ui|content|control-buttons|devices|nature|other-ui|shopping|social)-/,
};
const sizes = new Set([8, 10, 11, 12, 14, 15, 16, 18, 20, 24, 28, 30, 32, 36, 40, 48, 64, 96]);
const sizedSets = new Set(
  'fluent fluent-color octicon garden qlementine-icons heroicons sidekickicons osmic maki nonicons ix'.split(
    ' ',
  ),
);
const ordinals = new Set('one two three four five six'.split(' '));
/** A number after one of these words is part of the meaning. */
const counted = new Set(
  'number numeric num dice die looks filter level counter step top page heading h'.split(' '),
);

/** Reads `name` of the set `prefix`; `affixes` are the set's own style suffixes and prefixes, without hyphens. */
export function parseIconName(
  prefix: string,
  name: string,
  affixes: { readonly suffixes: readonly string[]; readonly prefixes: readonly string[] },
): IconName {
  const style: string[] = [];
  const nth: string[] = [];
  let size = 0;
  let rest = name.replace(setPrefixes[prefix] ?? /^$/, '').replace(/_/g, '-');
  for (const p of affixes.prefixes) {
    if (p && rest.startsWith(`${p}-`)) {
      style.push(p);
      rest = rest.slice(p.length + 1);
      break;
    }
  }
  const suffix = affixes.suffixes
    .filter((s) => s && rest.endsWith(`-${s}`))
    .reduce((a, b) => (b.length > a.length ? b : a), '');
  if (suffix) {
    rest = rest.slice(0, -suffix.length - 1);
    const digits = /\d+(?:px)?-?/;
    size = Number.parseInt(digits.exec(suffix)?.[0] ?? '0', 10);
    style.push(suffix.replace(digits, ''));
  }
  const words = rest.split('-').filter(Boolean);
  const own = (setWords[prefix] ?? '').split(' ');
  while (words.length > 1) {
    const last = words.at(-1)!;
    const previous = words.at(-2)!;
    if (styleWords.has(last) || own.includes(last)) {
      style.push(last);
    } else if (last === 'tone' && (previous === 'two' || previous === 'duo')) {
      style.push(`${words[words.length - 2]}-tone`);
      words.pop();
    } else if (sizedSets.has(prefix) && size === 0 && sizes.has(Number(last))) {
      size = Number(last);
    } else if (
      (/^0?[1-9]$/.test(last) || ordinals.has(last)) &&
      !counted.has(previous) &&
      !/^\d+$/.test(previous)
    ) {
      nth.unshift(last);
    } else break;
    words.pop();
  }
  const label = words.join(' ').toLowerCase();
  return { label, stem: [label, ...nth].join(' '), style: style.filter(Boolean).join(' '), size };
}
