import { byId, connect } from '/connection.js';
import uPlot from '/uplot.js';

const SHOWN_SECONDS = 15;
const COLOURS = ['#6366f1', '#f59e0b', '#10b981', '#ef4444', '#06b6d4', '#d946ef'];
const COLUMNS = 12;

const values = [];
let received = 0;

// What is shown is drawn once per frame, however many messages have come since the last one.
const lines = series(COLOURS.length);
const numbers = { throughput: series(1), delays: series(1), memory: series(1) };
const plots = {
  lines: plot('lines', lines, { colours: COLOURS, range: [0, 100] }),
  throughput: plot('throughput', numbers.throughput, { colours: ['#6366f1'], fill: true }),
  delays: plot('delays', numbers.delays, { colours: ['#ef4444'], fill: true }),
  memory: plot('memory', numbers.memory, { colours: ['#10b981'], fill: true }),
};

const connection = connect(() => '/live', {
  onState(words, isOpen) {
    byId('state').textContent = words;
    byId('state').toggleAttribute('data-open', isOpen);
  },
  onMessage(message) {
    if (message instanceof ArrayBuffer) {
      const view = new DataView(message);
      values[view.getUint16(0, true)] = view.getFloat32(2, true);
      received += 1;
    } else if (message.type === 'welcome') {
      values.length = message.sensors;
      showRates(message.rates, message.perSecond);
    } else if (message.type === 'rate') showRates(null, message.perSecond);
    else if (message.type === 'server') showServer(message);
  },
});

function showRates(rates, current) {
  if (rates !== null) {
    const buttons = rates.map((rate) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.value = rate;
      button.textContent = `${rate.toLocaleString('en')}/s`;
      button.addEventListener('click', () => connection.send(rate));
      return button;
    });
    byId('rates').replaceChildren(...buttons);
  }
  for (const button of byId('rates').children)
    button.ariaPressed = Number(button.value) === current;
}

function showServer(server) {
  const now = performance.now() / 1000;
  push(numbers.throughput, now, [server.messagesPerSecond]);
  push(numbers.delays, now, [server.loopDelayMs]);
  push(numbers.memory, now, [server.memoryMiB]);
  for (const name of Object.keys(numbers)) plots[name].setData(numbers[name]);
  const whole = (number) => Math.round(number).toLocaleString('en');
  byId('sent').textContent = whole(server.messagesPerSecond);
  byId('connections').textContent = whole(server.connections);
  byId('delay').textContent = `${server.loopDelayMs.toFixed(1)} ms`;
  byId('cpu').textContent = `${whole(server.cpuPercent)} %`;
}

// Frames, and values per second.
let frames = 0;
let countedAt = performance.now();

function draw() {
  requestAnimationFrame(draw);
  const at = performance.now();
  frames += 1;
  if (at - countedAt >= 1000) {
    const seconds = (at - countedAt) / 1000;
    byId('frames').textContent = Math.round(frames / seconds);
    byId('received').textContent = Math.round(received / seconds).toLocaleString('en');
    frames = 0;
    received = 0;
    countedAt = at;
  }
  if (values[0] === undefined) return;
  push(
    lines,
    at / 1000,
    COLOURS.map((_, index) => values[index * 17]),
  );
  plots.lines.setData(lines);
  drawHeat();
}

const heat = byId('heat');
const heatContext = heat.getContext('2d');

function drawHeat() {
  const rows = Math.ceil(values.length / COLUMNS);
  const scale = devicePixelRatio;
  const [width, height] = [heat.clientWidth * scale, heat.clientHeight * scale];
  if (heat.width !== width || heat.height !== height) Object.assign(heat, { width, height });
  for (let sensor = 0; sensor < values.length; sensor += 1) {
    const value = values[sensor] ?? 0;
    heatContext.fillStyle = `hsl(${245 - 2.3 * value} 72% ${28 + value * 0.32}%)`;
    const left = Math.floor(((sensor % COLUMNS) * width) / COLUMNS);
    const top = Math.floor((Math.floor(sensor / COLUMNS) * height) / rows);
    heatContext.fillRect(left, top, width / COLUMNS - scale, height / rows - scale);
  }
}

/** Times and values of some lines, as uPlot takes them. */
function series(count) {
  return Array.from({ length: count + 1 }, () => []);
}

function push(data, time, added) {
  const [times] = data;
  times.push(time);
  for (const [index, value] of added.entries()) data[index + 1].push(value);
  let old = 0;
  while (times[old] < time - SHOWN_SECONDS - 1) old += 1;
  if (old > 60) for (const each of data) each.splice(0, old);
}

function plot(id, data, { colours, range, fill }) {
  const place = byId(id);
  const colour = () => getComputedStyle(document.body).getPropertyValue('--muted');
  const grid = () => getComputedStyle(document.body).getPropertyValue('--line');
  const axis = {
    stroke: colour,
    grid: { stroke: grid, width: 1 },
    ticks: { show: false },
    size: 44,
  };
  const made = new uPlot(
    {
      width: place.clientWidth,
      height: place.clientHeight,
      cursor: { show: false },
      legend: { show: false },
      padding: [8, 8, 8, 0],
      scales: {
        // The seconds before now, so that the lines glide.
        x: {
          time: false,
          range: () => [performance.now() / 1000 - SHOWN_SECONDS, performance.now() / 1000],
        },
        y: { range: range ?? ((_, _low, high) => [0, Math.max(1, (high ?? 0) * 1.2)]) },
      },
      axes: [{ ...axis, show: false }, axis],
      series: [
        {},
        ...colours.map((stroke) => ({
          stroke,
          width: 2,
          fill: fill ? `${stroke}33` : undefined,
          points: { show: false },
        })),
      ],
    },
    data,
    place,
  );
  new ResizeObserver(() => {
    made.setSize({ width: place.clientWidth, height: place.clientHeight });
  }).observe(place);
  return made;
}

requestAnimationFrame(draw);
