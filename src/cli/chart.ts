import type { Chart, HeatMap } from '../methods/index.ts';

const width = 420;
const height = 260;
const margin = { left: 62, right: 14, top: 30, bottom: 46 };
/** Okabe and Ito's colours, which colour-blind readers can tell apart. */
const colours = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000', '#8b6f00'];

export const escapeXml = (text: string): string => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const n = (value: number): string => String(+value.toFixed(2));

/** Round numbers that cover `low` to `high`. */
export function ticksOf(low: number, high: number, wanted = 5): number[] {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((m) => m * power >= rough) ?? 10);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil((high || first * step) / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, i) => +((first + i) * step).toPrecision(12));
}

interface Scale {
  at(x: number | string): number;
  readonly ticks: readonly { readonly at: number; readonly text: string }[];
}

/** At equal distances, as shots are usually drawn. */
function xScale(values: readonly (number | string)[]): Scale {
  const inner = width - margin.left - margin.right;
  const distinct = [...new Set(values)].sort((a, b) =>
    typeof a === 'number' && typeof b === 'number' ? a - b : 0,
  );
  const at = (x: number | string) => margin.left + (inner * (distinct.indexOf(x) + 0.5)) / distinct.length;
  return { at, ticks: distinct.map((x) => ({ at: at(x), text: String(x) })) };
}

/** One chart as a group of SVG elements of 420 × 260 units. Points that are not finite are left out. */
function draw({ title, xLabel, yLabel, series }: Chart, top: number): string {
  const shown = series.map((s) => ({ ...s, points: s.points.filter((p) => Number.isFinite(p.y)) }));
  const points = shown.flatMap((s) => s.points);
  const bars = points.some((p) => typeof p.x === 'string');
  const x = xScale(points.map((p) => p.x));
  const ends = points.flatMap(({ y, error = 0 }) => [y - error, y + error]);
  const edges = bars || ends.length === 0 ? [0, ...ends] : ends;
  const ticks = ticksOf(Math.min(...edges), Math.max(...edges));
  const [low, high] = [ticks[0]!, ticks.at(-1)!];
  const inner = height - margin.top - margin.bottom;
  const y = (value: number) => margin.top + inner * (1 - (value - low) / (high - low));
  const slot = ((width - margin.left - margin.right) / Math.max(1, x.ticks.length)) * 0.8;
  const parts = [
    `<text x="${width / 2}" y="18" text-anchor="middle" font-weight="600">${escapeXml(title)}</text>`,
    ...ticks.map(
      (t) =>
        `<path d="M${margin.left} ${n(y(t))}H${width - margin.right}" stroke="#ddd"/>` +
        `<text x="${margin.left - 6}" y="${n(y(t) + 4)}" text-anchor="end">${t}</text>`,
    ),
    ...x.ticks.map(
      (t) =>
        `<text x="${n(t.at)}" y="${height - margin.bottom + 16}" text-anchor="middle">${escapeXml(t.text)}</text>`,
    ),
    `<text x="${width / 2}" y="${height - 10}" text-anchor="middle">${escapeXml(xLabel)}</text>`,
    `<text transform="translate(13 ${height / 2}) rotate(-90)" text-anchor="middle">${escapeXml(yLabel)}</text>`,
  ];
  shown.forEach((s, i) => {
    const colour = colours[i % colours.length]!;
    // Series stand side by side: bars of their own, error bars that do not cover one another.
    const shift = bars ? slot * ((i + 0.5) / shown.length - 0.5) : 3 * (i - (shown.length - 1) / 2);
    if (!bars) {
      const path = s.points.map((p, j) => `${j ? 'L' : 'M'}${n(x.at(p.x))} ${n(y(p.y))}`).join('');
      parts.push(`<path d="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    }
    for (const p of s.points) {
      const [px, py] = [x.at(p.x) + shift, y(p.y)];
      const w = (slot / shown.length) * 0.9;
      const [from, to] = [Math.min(py, y(0)), Math.max(py, y(0))];
      parts.push(
        bars
          ? `<rect x="${n(px - w / 2)}" y="${n(from)}" width="${n(w)}" height="${n(to - from)}" fill="${colour}"/>`
          : `<circle cx="${n(x.at(p.x))}" cy="${n(py)}" r="3" fill="${colour}"/>`,
      );
      if (p.error) {
        parts.push(
          `<path d="M${n(px)} ${n(y(p.y - p.error))}V${n(y(p.y + p.error))}" stroke="${bars ? '#333' : colour}"/>`,
        );
      }
    }
  });
  const legend = shown.map((s, i) => {
    const at = height + 14 * i + 8;
    return (
      `<rect x="${margin.left}" y="${at - 8}" width="10" height="10" fill="${colours[i % colours.length]}"/>` +
      `<text x="${margin.left + 16}" y="${at + 1}">${escapeXml(s.name)}</text>`
    );
  });
  return `<g transform="translate(0 ${top})">${[...parts, ...legend].join('')}</g>`;
}

const cell = { left: 120, top: 110, width: 44, height: 22 };

/** A heat map of 420 units' width: dark blue is the largest value of the map. */
function drawMap({ title, rows, columns, values }: HeatMap, top: number): string {
  const finite = values.flat().filter(Number.isFinite);
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const right = width - margin.right;
  const wide = Math.min(cell.width, (right - cell.left) / columns.length);
  const at = (i: number) => cell.left + wide * i;
  const parts = [
    `<text x="${width / 2}" y="18" text-anchor="middle" font-weight="600">${escapeXml(title)}</text>`,
    ...columns.map(
      (name, i) =>
        `<text transform="translate(${n(at(i + 0.6))} ${cell.top - 6}) rotate(-60)">${escapeXml(name)}</text>`,
    ),
  ];
  rows.forEach((name, r) => {
    const y = cell.top + cell.height * r;
    parts.push(
      `<text x="${cell.left - 6}" y="${y + 15}" text-anchor="end">${escapeXml(name)}</text>`,
      ...columns.map((_, c) => {
        const value = values[r]![c]!;
        if (!Number.isFinite(value)) return '';
        const share = (value - low) / (high - low || 1);
        const [red, green, blue] = [0, 114, 178].map((end) => Math.round(255 + (end - 255) * share));
        return (
          `<rect x="${n(at(c))}" y="${y}" width="${n(wide - 1)}" height="${cell.height - 1}" fill="rgb(${red} ${green} ${blue})"/>` +
          `<text x="${n(at(c + 0.5))}" y="${y + 15}" text-anchor="middle" fill="${share > 0.6 ? '#fff' : '#000'}">${value.toFixed(1)}</text>`
        );
      }),
    );
  });
  return `<g transform="translate(0 ${top})">${parts.join('')}</g>`;
}

/** Charts below one another as one SVG file that needs nothing else. */
export function svgOf(charts: readonly (Chart | HeatMap)[]): string {
  let top = 0;
  const groups = charts.map((chart) => {
    const map = 'rows' in chart;
    const group = map ? drawMap(chart, top) : draw(chart, top);
    top += map ? cell.top + cell.height * chart.rows.length + 20 : height + 14 * chart.series.length + 14;
    return group;
  });
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${top}" width="${width}" ` +
    `font-family="system-ui, sans-serif" font-size="11"><title>${escapeXml(charts.map((c) => c.title).join('; '))}</title><rect width="100%" height="100%" fill="#fff"/>` +
    `${groups.join('\n')}</svg>\n`
  );
}
