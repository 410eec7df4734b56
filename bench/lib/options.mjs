/** The command line. */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { scenarios } from './catalogue.mjs';
import { presets } from './presets.mjs';

const HELP = `node bench/run.mjs [options]

  --quick               one round, short measurements
  --scenario NAME       only this one, or all whose name starts so; may be repeated
  --preset NAME         a set of scenarios and peers: ${Object.keys(presets).join(', ')}
  --all                 the whole catalogue
  --peers A,B           of ws, ws+bufferutil, nextrush-websocket, bun, socket.io, uws, and the names
                        of builds; with options: nextrush-websocket:ioThreads=2; behind Node's
                        https.Server where there is TLS: nextrush-websocket+https
                        (default: ws,nextrush-websocket)
  --url NAME=ws://…     one more peer: a server that runs already; may be repeated
  --build NAME=DIR      one more peer: nextrush-websocket from another checkout; may be repeated
  --rounds N            measurements of each (default 3; 1 with --quick)
  --seconds S           length of each measurement
  --markdown            print a Markdown table
  --docs                write docs/benchmarks.md, with plots
  --redraw              write it again from docs/benchmarks.json, without measuring
  --no-quiet-check      do not look for foreign load, never repeat
  --list                print the scenarios' names
  --help
`;

/**
 * @typedef {object} Options
 * @property {boolean} quick
 * @property {boolean} all
 * @property {string[]} scenarios names or beginnings of names
 * @property {string} preset
 * @property {string[]} peers
 * @property {[name: string, value: string][]} urls
 * @property {[name: string, value: string][]} builds
 * @property {number} rounds
 * @property {number | undefined} seconds
 * @property {boolean} markdown
 * @property {boolean} docs
 * @property {boolean} redraw
 * @property {boolean} quietCheck
 */

/**
 * Reads the command line; `--help`, `--list` and mistakes end the process.
 * @param {string[]} args
 * @returns {Options}
 */
export function parseOptions(args) {
  try {
    const { values } = parseArgs({
      args,
      options: {
        quick: { type: 'boolean', default: false },
        all: { type: 'boolean', default: false },
        scenario: { type: 'string', multiple: true, default: [] },
        preset: { type: 'string', default: 'default' },
        peers: { type: 'string' },
        url: { type: 'string', multiple: true, default: [] },
        build: { type: 'string', multiple: true, default: [] },
        rounds: { type: 'string' },
        seconds: { type: 'string' },
        markdown: { type: 'boolean', default: false },
        docs: { type: 'boolean', default: false },
        redraw: { type: 'boolean', default: false },
        'no-quiet-check': { type: 'boolean', default: false },
        list: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    if (values.help) end(HELP);
    if (values.list) end(listing());
    const preset = presets[values.preset];
    if (!preset) throw new Error(`--preset ${values.preset}: no such preset`);
    return {
      quick: values.quick,
      all: values.all,
      scenarios: values.scenario,
      preset: values.preset,
      peers: values.peers?.split(',').filter(Boolean) ?? preset.peers,
      urls: values.url.map((text) => pair('--url', text)),
      builds: values.build.map((text) => pair('--build', text)),
      rounds: positive('--rounds', values.rounds) ?? (values.quick ? 1 : 3),
      seconds: positive('--seconds', values.seconds),
      markdown: values.markdown,
      docs: values.docs || values.redraw,
      redraw: values.redraw,
      quietCheck: !values['no-quiet-check'],
    };
  } catch (error) {
    process.stderr.write(`${/** @type {Error} */ (error).message}\n\n${HELP}`);
    process.exit(2);
  }
}

/** @param {string} text */
function end(text) {
  process.stdout.write(text);
  process.exit(0);
}

function listing() {
  const names = Object.keys(presets);
  const lines = scenarios.map(({ name, title }) => {
    const sets = names.filter((preset) => presets[preset].scenarios.includes(name));
    return `${name.padEnd(30)} ${sets.join(', ').padEnd(14)} ${title}`;
  });
  const sets = names.map((preset) => `--preset ${preset}: ${presets[preset].title}`);
  return `${lines.join('\n')}\n\n${sets.join('\n')}\nThe others run with --all or --scenario.\n`;
}

/**
 * @param {string} option
 * @param {string} text
 * @returns {[string, string]}
 */
function pair(option, text) {
  const at = text.indexOf('=');
  if (at < 1) throw new Error(`${option} ${text}: expected NAME=…`);
  return [text.slice(0, at), text.slice(at + 1)];
}

/**
 * @param {string} option
 * @param {string | undefined} text
 */
function positive(option, text) {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (!(number > 0)) throw new Error(`${option} ${text}: expected a number above 0`);
  return number;
}
