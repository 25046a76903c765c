import { isAthena } from '../caches/configurations.js';
import { MODES } from '../measures/measures.js';
import { OPERATIONS } from '../workload.js';
import { resultOf, subjectsOf } from './results.js';
import { LIMIT_MS } from './targets.js';

/** The curve of every operation through the outage, as plain SVG: a panel for each configuration and kind of outage. */

const PANEL = { width: 430, height: 96, gapX: 52, gapY: 34 };
const MARGIN = { left: 58, top: 98, right: 22, bottom: 50 };
const Y_AXIS = { from: 0.1, to: 40_000, ticks: [0.1, 1, 10, 100, 1000, 10_000] };
const LEGEND_STEP = 140;
/** Of the curves in their order, the thinnest on top: those that coincide stay visible beside each other. */
const WIDTHS = [1.2, 2.2, 3.2, 4.2, 5.2];

/** Hues that keep apart in the common forms of colour blindness (Okabe and Ito 2008), for both grounds. */
const COLOURS = {
  light: ['#0072b2', '#56a5d8', '#d55e00', '#a0519b', '#008060'],
  dark: ['#5aa9e6', '#9fd3f5', '#f08a4b', '#d68fd0', '#3fc79a'],
};

const styleOf = ({ text, faint, ground, grid, outage, limit }, colours) => `
    text { fill: ${text} }
    .faint { fill: ${faint} }
    .ground { fill: ${ground} }
    .outage { fill: ${outage} }
    .grid, .frame { stroke: ${grid} }
    .limit { stroke: ${limit} }
    ${colours.map((colour, index) => `.o${index} { stroke: ${colour} }`).join('\n    ')}`;

const LIGHT = {
  text: '#1f2328',
  faint: '#59636e',
  ground: '#ffffff',
  grid: '#d1d9e0',
  outage: '#fff1e5',
  limit: '#9a6700',
};
const DARK = {
  text: '#e6edf3',
  faint: '#9198a1',
  ground: '#0d1117',
  grid: '#3d444d',
  outage: '#2b1d12',
  limit: '#d29922',
};

const STYLE = `<style>
    text { font: 11px system-ui, sans-serif }
    .title { font-size: 16px; font-weight: 600 }
    .name { font-size: 12px; font-weight: 600 }
    .curve { fill: none; stroke-linejoin: round }
    ${WIDTHS.map((width, index) => `.o${index} { stroke-width: ${width} }`).join('\n    ')}
    .grid, .frame { fill: none; stroke-width: 1 }
    .limit { stroke-width: 1; stroke-dasharray: 4 3 }${styleOf(LIGHT, COLOURS.light)}
    @media (prefers-color-scheme: dark) {${styleOf(DARK, COLOURS.dark)}
    }
  </style>`;

const text = (x, y, content, kind = '', anchor = 'start') =>
  `<text x="${x}" y="${y}" class="${kind}" text-anchor="${anchor}">${content}</text>`;
const line = (x1, y1, x2, y2, kind) => `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" class="${kind}"/>`;
const rectangle = (x, y, width, height, kind) =>
  `<rect x="${x}" y="${y}" width="${width}" height="${height}" class="${kind}"/>`;

const asTime = (ms) => (ms >= 1000 ? `${ms / 1000} s` : `${ms} ms`);

/** A panel's own coordinates: seconds and milliseconds to pixels. */
function scaleOf(column, row, range) {
  const left = MARGIN.left + column * (PANEL.width + PANEL.gapX);
  const top = MARGIN.top + row * (PANEL.height + PANEL.gapY);
  const within = (ms) => Math.min(Math.max(ms, Y_AXIS.from), Y_AXIS.to);
  const share = (ms) => Math.log(within(ms) / Y_AXIS.from) / Math.log(Y_AXIS.to / Y_AXIS.from);
  return {
    left,
    top,
    x: (second) => round(left + ((second - range.from) / (range.to - range.from)) * PANEL.width),
    y: (ms) => round(top + (1 - share(ms)) * PANEL.height),
  };
}

const round = (pixels) => Number(pixels.toFixed(1));

function frame({ left, top, y }, label) {
  const right = left + PANEL.width;
  return [
    ...Y_AXIS.ticks.flatMap((ms) => [
      line(left, y(ms), right, y(ms), 'grid'),
      text(left - 6, y(ms) + 4, asTime(ms), 'faint', 'end'),
    ]),
    line(left, y(LIMIT_MS), right, y(LIMIT_MS), 'limit'),
    rectangle(left, top, PANEL.width, PANEL.height, 'frame'),
    text(left, top - 7, label, 'name'),
  ];
}

function panel(scale, label, result) {
  const { left, top, x, y } = scale;
  if (result?.curves === undefined)
    return [...frame(scale, label), text(left + 8, top + 20, 'failed', 'faint')];
  const back = x(result.awayMs / 1000);
  const curves = OPERATIONS.map((operation, index) => {
    const points = result.curves[operation].map(([second, ms]) => `${x(second)},${y(ms)}`);
    return `<polyline points="${points.join(' ')}" class="curve o${index}"/>`;
  });
  return [
    rectangle(x(0), top, round(back - x(0)), PANEL.height, 'outage'),
    ...frame(scale, label),
    ...curves.toReversed(),
  ];
}

function timeAxis({ top, x }, range) {
  const first = Math.ceil(range.from / 5) * 5;
  const seconds = Array.from(
    { length: Math.floor((range.to - first) / 5) + 1 },
    (_, index) => first + index * 5,
  );
  const bottom = top + PANEL.height;
  return [
    ...seconds.map((second) => text(x(second), bottom + 16, `${second} s`, 'faint', 'middle')),
    text(x((range.from + range.to) / 2), bottom + 34, 'since Redis went away', 'faint', 'middle'),
  ];
}

function legend() {
  const y = 56;
  const operations = OPERATIONS.flatMap((operation, index) => {
    const x = MARGIN.left + index * LEGEND_STEP;
    return [line(x, y - 4, x + 22, y - 4, `curve o${index}`), text(x + 28, y, operation)];
  });
  const next = MARGIN.left + OPERATIONS.length * LEGEND_STEP + 20;
  return [
    text(
      MARGIN.left,
      30,
      'The longest call of each half second, by operation, through an outage of Redis',
      'title',
    ),
    ...operations,
    line(next, y - 4, next + 22, y - 4, 'limit'),
    text(next + 28, y, `${LIMIT_MS} ms`),
    rectangle(next + 84, y - 10, 22, 12, 'outage'),
    text(next + 112, y, 'Redis is away'),
  ];
}

/** From the first to the last call of all curves, so that panels can be compared. */
function timeRange(results) {
  const seconds = results.flatMap(({ curves }) =>
    Object.values(curves ?? {}).flatMap((points) => points.map(([at]) => at)),
  );
  return { from: Math.min(...seconds), to: Math.max(...seconds) };
}

export function plot(measured) {
  const subjects = subjectsOf(measured).toSorted((a, b) => isAthena(b) - isAthena(a));
  const modes = Object.keys(MODES);
  const range = timeRange(modes.flatMap((mode) => measured.results.outage[mode]));
  const panels = modes.flatMap((mode, column) =>
    subjects.flatMap((subject, row) => {
      const label = `${subject.label}, ${MODES[mode]}`;
      return panel(scaleOf(column, row, range), label, resultOf(measured, 'outage', mode, subject));
    }),
  );
  const last = modes.map((_, column) => scaleOf(column, subjects.length - 1, range));
  const width = MARGIN.left + modes.length * PANEL.width + (modes.length - 1) * PANEL.gapX + MARGIN.right;
  const height = last[0].top + PANEL.height + MARGIN.bottom;
  const parts = [
    STYLE,
    rectangle(0, 0, width, height, 'ground'),
    ...legend(),
    ...panels,
    ...last.flatMap((scale) => timeAxis(scale, range)),
  ];
  const view = `viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"`;
  const label =
    'Time of each operation before, during and after an outage of Redis, for Athena and its peers';
  return `<svg xmlns="http://www.w3.org/2000/svg" ${view} role="img" aria-label="${label}">\n${parts.join('\n')}\n</svg>\n`;
}
