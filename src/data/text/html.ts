/** The readable text of HTML, good enough for mails and plain pages. */

const named: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  nbsp: ' ',
  copy: '©',
  reg: '®',
};

const codePoint = (n: number) => (n > 0 && n <= 0x10ffff ? String.fromCodePoint(n) : '');

/** Without tags, comments, scripts and styles; entities decoded; white space is one space. */
export function htmlToText(html: string): string {
  return html
    .replace(/<!--.*?-->|<(script|style|title)\b.*?<\/\1>/gis, ' ')
    .replace(/<\/?(?:b|i|u|em|strong|font|span|a|small|big)\b[^>]*>/gi, '')
    .replace(/<[/!?a-z][^>]*>/gi, ' ')
    .replace(/&(?:#(\d+)|#x([\da-f]+)|(\w+));?/gi, (whole, decimal, hex, name) => {
      if (decimal) return codePoint(Number(decimal));
      if (hex) return codePoint(Number.parseInt(hex, 16));
      return named[name.toLowerCase()] ?? whole;
    })
    .replace(/\s+/g, ' ')
    .trim();
}
