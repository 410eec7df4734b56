import { byId, connect, element } from '/connection.js';

/** What is shown lies so many steps behind, between two snapshots that have come. */
const BEHIND_STEPS = 2.5;
const STEER_MS = 50;
const LEADERS = 8;

const arena = byId('arena');
const context = arena.getContext('2d');

let connection;
/** What the server says of the world. */
let world = { you: -1, size: 1, steps: 30, food: [] };
let players = new Map();
/** The latest snapshots, oldest first: a step and the orbs by number. */
let snapshots = [];
/** When a step would have come if all came evenly, in milliseconds. */
let stepZeroAt = null;
const aim = { x: 0, y: 0 };
const keys = new Set();

byId('name').value = sessionStorage.getItem('name') ?? '';
byId('name').focus();
byId('login').addEventListener('submit', (event) => {
  event.preventDefault();
  const name = byId('name').value.trim();
  sessionStorage.setItem('name', name);
  byId('login').remove();
  play(name);
});

function play(name) {
  connection = connect(() => `/arena?${new URLSearchParams({ name })}`, {
    onState(words, isOpen) {
      byId('state').textContent = words;
      byId('state').toggleAttribute('data-open', isOpen);
    },
    onMessage(message) {
      if (message instanceof ArrayBuffer) keep(message);
      else if (message.type === 'welcome') {
        world = message;
        snapshots = [];
        stepZeroAt = null;
        showPlayers(message.players);
      } else if (message.type === 'players') showPlayers(message.players);
      else if (message.type === 'news') tell(message);
    },
  });
  setInterval(steer, STEER_MS);
  setInterval(showLeaders, 500);
}

function showPlayers(list) {
  players = new Map(list.map((player) => [player.id, player]));
}

function tell({ food, meals }) {
  for (const [index, x, y] of food) world.food[index] = [x, y];
  for (const { eater, prey } of meals) {
    if (eater !== world.you && prey !== world.you) continue;
    const nameOf = (id) => (id === world.you ? 'You' : players.get(id)?.name);
    byId('news').textContent = `${nameOf(eater)} ate ${prey === world.you ? 'you' : nameOf(prey)}`;
    clearTimeout(tell.timer);
    tell.timer = setTimeout(() => {
      byId('news').textContent = '';
    }, 3000);
  }
}

function keep(bytes) {
  const view = new DataView(bytes);
  const step = view.getUint32(0, true);
  const orbs = new Map();
  for (let at = 4; at < bytes.byteLength; at += 8) {
    orbs.set(view.getUint16(at, true), {
      x: view.getUint16(at + 2, true) / 16,
      y: view.getUint16(at + 4, true) / 16,
      mass: view.getUint16(at + 6, true) / 16,
    });
  }
  snapshots.push({ step, orbs });
  if (snapshots.length > 12) snapshots.shift();
  // Clocks differ and packets are late: what comes early moves the beginning, what is late hardly does.
  const zero = performance.now() - (step * 1000) / world.steps;
  stepZeroAt = stepZeroAt === null ? zero : Math.min(stepZeroAt + 0.05, zero);
}

/** Every orb at this moment, between the two snapshots around it. */
function orbsNow() {
  if (snapshots.length === 0) return new Map();
  const wanted = ((performance.now() - stepZeroAt) * world.steps) / 1000 - BEHIND_STEPS;
  const after = snapshots.findIndex(({ step }) => step >= wanted);
  if (after <= 0) return (after < 0 ? snapshots.at(-1) : snapshots[0]).orbs;
  const [from, to] = [snapshots[after - 1], snapshots[after]];
  const share = (wanted - from.step) / (to.step - from.step);
  const between = new Map();
  for (const [id, end] of to.orbs) {
    const start = from.orbs.get(id) ?? end;
    // Who has been eaten is somewhere else at once.
    const jumped = Math.hypot(end.x - start.x, end.y - start.y) > 150;
    const mix = (key) => (jumped ? end[key] : start[key] + (end[key] - start[key]) * share);
    between.set(id, { x: mix('x'), y: mix('y'), mass: mix('mass') });
  }
  return between;
}

const radius = (mass) => 6 * Math.sqrt(mass);

function draw() {
  requestAnimationFrame(draw);
  const scale = devicePixelRatio;
  const [width, height] = [innerWidth, innerHeight];
  if (arena.width !== width * scale || arena.height !== height * scale) {
    Object.assign(arena, { width: width * scale, height: height * scale });
  }
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.fillStyle = '#0b0d16';
  context.fillRect(0, 0, width, height);

  const orbs = orbsNow();
  const me = orbs.get(world.you) ?? { x: world.size / 2, y: world.size / 2, mass: 40 };
  const zoom = Math.min(1.3, Math.max(0.45, 70 / radius(me.mass)));
  context.translate(width / 2, height / 2);
  context.scale(zoom, zoom);
  context.translate(-me.x, -me.y);

  drawGround();
  for (const [index, [x, y]] of world.food.entries()) {
    context.fillStyle = `hsl(${(index * 47) % 360} 80% 62%)`;
    context.beginPath();
    context.arc(x, y, 5, 0, 2 * Math.PI);
    context.fill();
  }
  const bySize = [...orbs].sort(([, one], [, other]) => one.mass - other.mass);
  for (const [id, orb] of bySize) drawOrb(id, orb);
}

function drawGround() {
  context.strokeStyle = '#191d2e';
  context.lineWidth = 1;
  context.beginPath();
  for (let line = 0; line <= world.size; line += 80) {
    context.moveTo(line, 0);
    context.lineTo(line, world.size);
    context.moveTo(0, line);
    context.lineTo(world.size, line);
  }
  context.stroke();
  context.strokeStyle = '#4f46e5';
  context.lineWidth = 6;
  context.strokeRect(0, 0, world.size, world.size);
}

function drawOrb(id, { x, y, mass }) {
  const { name = '', hue = 0 } = players.get(id) ?? {};
  const size = radius(mass);
  const glow = context.createRadialGradient(x - size / 3, y - size / 3, size / 6, x, y, size);
  glow.addColorStop(0, `hsl(${hue} 85% 70%)`);
  glow.addColorStop(1, `hsl(${hue} 75% 42%)`);
  context.fillStyle = glow;
  context.beginPath();
  context.arc(x, y, size, 0, 2 * Math.PI);
  context.fill();
  context.lineWidth = id === world.you ? 5 : 2;
  context.strokeStyle = id === world.you ? '#ffffff' : `hsl(${hue} 80% 30%)`;
  context.stroke();
  context.fillStyle = '#ffffff';
  context.font = `600 ${Math.max(12, size / 2.4)}px system-ui, sans-serif`;
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.fillText(name, x, y);
}

function showLeaders() {
  const orbs = [...(snapshots.at(-1)?.orbs ?? [])];
  orbs.sort(([, one], [, other]) => other.mass - one.mass);
  byId('leaders').replaceChildren(
    ...orbs.slice(0, LEADERS).map(([id, { mass }]) => {
      const item = element('li', id === world.you ? 'me' : '');
      item.append(element('span', '', players.get(id)?.name ?? ''));
      item.append(element('span', '', Math.round(mass)));
      return item;
    }),
  );
}

// Steering: only where to, as the server decides what becomes of it.

addEventListener('pointermove', ({ clientX, clientY }) => {
  const reach = Math.min(innerWidth, innerHeight) / 4;
  point((clientX - innerWidth / 2) / reach, (clientY - innerHeight / 2) / reach);
});

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
for (const type of ['keydown', 'keyup']) {
  addEventListener(type, (event) => {
    if (!(event.key in ARROWS)) return;
    if (type === 'keydown') keys.add(event.key);
    else keys.delete(event.key);
    const sum = [...keys].map((key) => ARROWS[key]);
    point(
      sum.reduce((total, [x]) => total + x, 0),
      sum.reduce((total, [, y]) => total + y, 0),
    );
  });
}

function point(x, y) {
  const length = Math.max(1, Math.hypot(x, y));
  Object.assign(aim, { x: x / length, y: y / length });
}

function steer() {
  connection.sendBytes(new Int8Array([Math.round(aim.x * 127), Math.round(aim.y * 127)]));
}

requestAnimationFrame(draw);
