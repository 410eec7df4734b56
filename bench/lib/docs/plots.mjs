/** The plots of the page, as SVG. */
import * as vega from 'vega';
import * as vegaLite from 'vega-lite';
import { formatNumber } from '../report.mjs';

/** @typedef {import('../statistics.mjs').Row} Row */
/** @typedef {{ name: string, alt: string, svg: string }} Plot */

/** One grey for all text, about as legible on white as on black: the page has both. */
const TEXT = '#7a7f87';
const GRID = '#7a7f8740';

/** Colours by peer; the rest of the palette is for further ones. */
const COLORS = {
  ws: '#9aa0a6',
  'nextrush-websocket': '#f76707',
  bun: '#4c8dff',
  'nextrush-websocket+https': '#fab387',
};
const FURTHER_COLORS = ['#37b24d', '#ae3ec9', '#f59f00', '#e64980'];

/** Pixels: the thickness of one bar, and the width of a plot without its labels. */
const BAR = 12;
const WIDTH = 480;

const config = {
  background: null,
  font: 'system-ui, sans-serif',
  view: { stroke: null },
  axis: {
    labelColor: TEXT,
    titleColor: TEXT,
    gridColor: GRID,
    domainColor: GRID,
    tickColor: GRID,
    labelLimit: 600,
    labelFontSize: 11,
    titleFontSize: 11,
    titleFontWeight: 'normal',
  },
  legend: { labelColor: TEXT, labelFontSize: 12, title: null, orient: 'top', labelLimit: 300 },
  text: { color: TEXT },
};

/**
 * All plots for which a run has figures.
 * @param {Row[]} rows
 * @returns {Promise<Plot[]>}
 */
export async function drawPlots(rows) {
  const [tls, plain] = [rows.filter(isTls), rows.filter((row) => !isTls(row))];
  const of = (/** @type {Row[]} */ some, /** @type {string} */ start) =>
    some.filter(({ scenario }) => scenario.startsWith(start));
  const drawings = [
    ratios('throughput', plain),
    cpuTimes('cpu', plain),
    javascriptTimes('javascript', plain),
    latencies(plain.filter(({ id }) => /-p(50|99|999)$/.test(id))),
    ratios('tls', tls, ', TLS'),
    cpuTimes('tls-cpu', tls, ', TLS'),
    javascriptTimes('tls-javascript', tls, ', TLS'),
    httpTimes([
      ...of(plain, 'httplag'),
      ...of(tls, 'tls-httplag'),
      ...plain.filter(({ id }) => /^crowd-\d+-http$/.test(id)),
    ]),
    loopDelays([...of(plain, 'httplag'), ...of(tls, 'tls-httplag')]),
    memory('memory', [...of(plain, 'idle'), ...plain.filter(({ id }) => /^crowd-\d+$/.test(id))]),
    memory('tls-memory', of(tls, 'tls-idle'), ', TLS'),
    costs(of(plain, 'linear')),
  ];
  return Promise.all(
    drawings
      .map((drawing) => ({ ...drawing, values: ofRegulars(drawing.values) }))
      .filter(({ values }) => values.length > 0)
      .map(async ({ name, alt, values, draws }) => ({
        name,
        alt,
        svg: await draw({ data: { values: values.map(labelled) }, ...draws(values) }, alt),
      })),
  );
}

/** @param {Value} value */
const labelled = (value) => ({ ...value, label: formatNumber(value.value) });

/** @param {Row} row */
const isTls = ({ scenario }) => scenario.startsWith('tls-');

/**
 * Without peers that took part in few of a plot's figures: they are in the tables, and would leave a
 * gap in every other group here.
 * @template {Value} T
 * @param {T[]} values
 */
function ofRegulars(values) {
  const titles = new Set(values.map(({ title }) => title)).size;
  const count = (/** @type {string} */ name) => values.filter(({ peer }) => peer === name).length;
  return values.filter(({ peer }) => count(peer) > titles / 2);
}

/**
 * @param {string} name
 * @param {Row[]} rows
 * @param {string} [suffix]
 */
function ratios(name, rows, suffix = '') {
  return {
    name,
    alt: `Throughput of each scenario as a multiple of ws${suffix}`,
    values: rows
      .filter(({ unit, peer }) => unit.endsWith('/s') && peer !== 'ws')
      .map(({ title, peer, ratio }) => ({ title, peer, value: ratio }))
      .filter(isKnown),
    draws: bars({ axis: 'throughput, times that of ws (log scale)', base: 1 }),
  };
}

/**
 * @param {string} name
 * @param {Row[]} rows
 * @param {string} [suffix]
 */
function cpuTimes(name, rows, suffix = '') {
  return {
    name,
    alt: `CPU time of the server per message in each scenario${suffix}`,
    values: rows
      .filter(({ unit }) => unit.endsWith('/s'))
      .map(({ title, peer, cpu }) => ({ title, peer, value: cpu }))
      .filter(isKnown),
    draws: bars({
      axis: 'CPU µs of the server per message, delivery, connection or request (log scale)',
      base: 0.1,
    }),
  };
}

/**
 * @param {string} name
 * @param {Row[]} rows
 * @param {string} [suffix]
 */
function javascriptTimes(name, rows, suffix = '') {
  return {
    name,
    alt: `CPU time of the server's JavaScript thread per message in each scenario${suffix}`,
    values: rows
      .filter(({ unit }) => unit.endsWith('/s'))
      .map(({ title, peer, javascript }) => ({ title, peer, value: javascript }))
      .filter(isKnown),
    draws: bars({
      axis: 'CPU µs of the JavaScript thread per message, delivery, connection or request (log scale)',
      base: 0.01,
    }),
  };
}

/** @param {Row[]} rows */
function latencies(rows) {
  return {
    name: 'latency',
    alt: 'Latency of an echo: of a lone message, and of the unluckiest among many',
    values: rows.map(({ title, peer, median }) => ({ title, peer, value: median })),
    draws: bars({ axis: 'µs (log scale)', base: 10 }),
  };
}

/** @param {Row[]} rows */
function httpTimes(rows) {
  return {
    name: 'http',
    alt: 'HTTP p99 while a room gets broadcasts',
    values: rows.map(({ title, peer, median }) => ({ title, peer, value: median })),
    draws: bars({ axis: 'HTTP p99 in ms (log scale)', base: 0.1 }),
  };
}

/** @param {Row[]} rows */
function loopDelays(rows) {
  return {
    name: 'loop-delay',
    alt: 'Event-loop delay p99 while a room gets broadcasts',
    values: rows
      .map(({ title, peer, details }) => ({
        title: title.replace('HTTP p99, ', ''),
        peer,
        value: details['loop delay p99 ms'],
      }))
      .filter(isKnown),
    draws: bars({ axis: 'event-loop delay p99 in ms (log scale)', base: 0.1 }),
  };
}

/**
 * @param {string} name
 * @param {Row[]} rows
 * @param {string} [suffix]
 */
function memory(name, rows, suffix = '') {
  return {
    name,
    alt: `Resident bytes per idle connection, open and after close${suffix}`,
    values: rows.map(({ title, peer, median }) => ({ title, peer, value: median })),
    draws: bars({ axis: 'resident bytes per connection' }),
  };
}

/** @param {Row[]} rows */
function costs(rows) {
  const x = {
    field: 'members',
    type: 'quantitative',
    scale: { type: 'log', nice: false, padding: 20 },
    title: 'members',
  };
  const y = { field: 'value', type: 'quantitative', title: 'CPU µs of the server per delivery' };
  return {
    name: 'linear',
    alt: 'CPU time of the server per delivery by the size of the room',
    values: rows.map(({ title, scenario, peer, median }) => ({
      title,
      members: Number(scenario.split('-')[1]),
      peer,
      value: median,
    })),
    draws: (/** @type {Value[]} */ values) => ({
      width: WIDTH,
      height: 260,
      mark: { type: 'line', point: true },
      encoding: { x, y, color: colors(values) },
    }),
  };
}

/** @typedef {{ title: string, peer: string, value: number }} Value */

/**
 * @param {{ title: string, peer: string, value: number | undefined }} it
 * @returns {it is Value}
 */
const isKnown = ({ value }) => value !== undefined;

/**
 * Horizontal bars, one group for each title, with their values behind them: what draws them, for
 * the values that it is given.
 * @param {object} style
 * @param {string} style.axis
 * @param {number} [style.base] where bars begin on a log scale; without it the scale is linear
 */
function bars({ axis, base }) {
  // On a log scale there is no 0: what is below the base there has no bar, but its number.
  const shown = base === undefined || base === 1 ? 'datum.value' : `max(datum.value, ${base})`;
  const scale = base === undefined ? {} : { type: 'log', nice: false, padding: 30 };
  const x = (/** @type {string} */ field) => ({ field, type: 'quantitative', scale, title: axis });
  return (/** @type {Value[]} */ values) => {
    const color = colors(values);
    return {
      width: WIDTH,
      height: { step: BAR, for: 'offset' },
      transform: [
        { calculate: shown, as: 'shown' },
        { calculate: `max(datum.value, ${base ?? 0})`, as: 'end' },
      ],
      encoding: {
        y: { field: 'title', type: 'nominal', sort: null, title: null, axis: { labelLimit: 600 } },
        yOffset: { field: 'peer', sort: color.scale.domain },
      },
      layer: [
        {
          mark: 'bar',
          encoding: {
            x: x('shown'),
            color,
            ...(base === undefined ? {} : { x2: { datum: base } }),
          },
        },
        {
          mark: { type: 'text', align: 'left', dx: 3, baseline: 'middle', fontSize: 9 },
          encoding: { x: x('end'), text: { field: 'label' } },
        },
      ],
    };
  };
}

/** @param {{ peer: string }[]} values */
function colors(values) {
  const peers = [...new Set(values.map(({ peer }) => peer))];
  const further = peers.filter((peer) => !(peer in COLORS));
  const range = peers.map(
    (peer) => COLORS[peer] ?? FURTHER_COLORS[further.indexOf(peer) % FURTHER_COLORS.length],
  );
  return { field: 'peer', type: 'nominal', scale: { domain: peers, range } };
}

/**
 * @param {object} spec of vega-lite
 * @param {string} title for those who cannot see it
 */
async function draw(spec, title) {
  const compiled = vegaLite.compile(/** @type {any} */ ({ ...spec, config }));
  const view = new vega.View(vega.parse(compiled.spec), { renderer: 'none' });
  const svg = await view.toSVG();
  // One title for the picture as a whole, instead of a role for each of its parts.
  return svg
    .replaceAll(/ (role|aria-[a-z]+)="[^"]*"/g, '')
    .replace(/<svg[^>]*>/, (start) => `${start}<title>${title}</title>`);
}
