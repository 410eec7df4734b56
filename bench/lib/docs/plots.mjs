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
 * All plots for which a run has figures. Peers that took part in a few scenarios only are in the
 * tables: here they would leave a gap in every other group.
 * @param {Row[]} all
 * @returns {Promise<Plot[]>}
 */
export async function drawPlots(all) {
  const figures = new Set(all.map(({ id }) => id)).size;
  const count = (/** @type {string} */ name) => all.filter(({ peer }) => peer === name).length;
  const rows = all.filter(({ peer }) => count(peer) > figures / 2);
  const drawings = [
    ratios(rows.filter(({ unit, peer }) => unit.endsWith('/s') && peer !== 'ws')),
    cpuTimes(rows.filter(({ cpu, unit }) => cpu !== undefined && unit.endsWith('/s'))),
    httpTimes(rows.filter(({ scenario }) => scenario.startsWith('httplag'))),
    loopDelays(rows.filter(({ scenario }) => scenario.startsWith('httplag'))),
    memory(rows.filter(({ scenario }) => scenario.startsWith('idle'))),
    costs(rows.filter(({ scenario }) => scenario.startsWith('linear'))),
  ].filter(({ values }) => values.length > 0);
  return Promise.all(
    drawings.map(async ({ name, alt, values, ...spec }) => ({
      name,
      alt,
      svg: await draw({ data: { values }, ...spec }, alt),
    })),
  );
}

/** @param {Row[]} rows */
function ratios(rows) {
  const values = rows.map(({ title, peer, ratio }) => ({ title, peer, value: ratio }));
  return {
    name: 'throughput',
    alt: 'Throughput of each scenario as a multiple of ws',
    ...bars(values, { axis: 'throughput, times that of ws (log scale)', base: 1 }),
  };
}

/** @param {Row[]} rows */
function cpuTimes(rows) {
  const values = rows.map(({ title, peer, cpu }) => ({ title, peer, value: cpu }));
  const axis = 'CPU µs of the server per message, delivery or connection (log scale)';
  return {
    name: 'cpu',
    alt: 'CPU time of the server per message in each scenario',
    ...bars(values, { axis, base: 0.1 }),
  };
}

/** @param {Row[]} rows */
function httpTimes(rows) {
  const values = rows.map(({ title, peer, median }) => ({ title, peer, value: median }));
  return {
    name: 'http',
    alt: 'HTTP p99 while a room gets broadcasts',
    ...bars(values, { axis: 'HTTP p99 in ms (log scale)', base: 0.1 }),
  };
}

/** @param {Row[]} rows */
function loopDelays(rows) {
  const values = rows.map(({ title, peer, details }) => ({
    title: title.replace('HTTP p99, ', ''),
    peer,
    value: details['loop delay p99 ms'],
  }));
  return {
    name: 'loop-delay',
    alt: 'Event-loop delay p99 while a room gets broadcasts',
    ...bars(values, { axis: 'event-loop delay p99 in ms (log scale)', base: 0.1 }),
  };
}

/** @param {Row[]} rows */
function memory(rows) {
  const values = rows.map(({ title, peer, median }) => ({ title, peer, value: median }));
  return {
    name: 'memory',
    alt: 'Resident bytes per idle connection, open and after close',
    ...bars(values, { axis: 'resident bytes per connection' }),
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
    values: rows.map(({ scenario, peer, median }) => ({
      members: Number(scenario.split('-')[1]),
      peer,
      value: median,
    })),
    width: WIDTH,
    height: 260,
    mark: { type: 'line', point: true },
    encoding: { x, y, color: colors(rows) },
  };
}

/** @typedef {{ title: string, peer: string, value: number | undefined }} Value */

/**
 * Horizontal bars, one group for each title, with their values behind them.
 * @template {Value} T
 * @param {T[]} all
 * @param {object} style
 * @param {string} style.axis
 * @param {number} [style.base] where bars begin on a log scale; without it the scale is linear
 */
function bars(all, { axis, base }) {
  const values = all
    .filter(({ value }) => value !== undefined)
    .map((it) => {
      const value = Number(it.value);
      // On a log scale there is no 0: what is below the base there has no bar, but its number.
      const shown = base === undefined || base === 1 ? value : Math.max(value, base);
      return { ...it, value: shown, end: Math.max(value, base ?? 0), label: formatNumber(value) };
    });
  const scale = base === undefined ? {} : { type: 'log', nice: false, padding: 30 };
  const color = colors(values);
  const x = (/** @type {string} */ field) => ({ field, type: 'quantitative', scale, title: axis });
  return {
    values,
    width: WIDTH,
    height: { step: BAR, for: 'offset' },
    encoding: {
      y: { field: 'title', type: 'nominal', sort: null, title: null, axis: { labelLimit: 600 } },
      yOffset: { field: 'peer', sort: color.scale.domain },
    },
    layer: [
      {
        mark: 'bar',
        encoding: { x: x('value'), color, ...(base === undefined ? {} : { x2: { datum: base } }) },
      },
      {
        mark: { type: 'text', align: 'left', dx: 3, baseline: 'middle', fontSize: 9 },
        encoding: { x: x('end'), text: { field: 'label' } },
      },
    ],
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
