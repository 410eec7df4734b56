/** The rules of the game: a world of orbs that knows nothing of connections. */

const SIZE = 2400;
const FOOD = 260;
const BOTS = 5;
const FIRST_MASS = 12;
const LARGEST_MASS = 900;
/** So much heavier has to be who eats another. */
const ADVANTAGE = 1.15;
const NAMES = ['Ada', 'Grace', 'Linus', 'Dennis', 'Barbara', 'Edsger', 'Radia', 'Ken'];

/**
 * @typedef {{ id: number, name: string, hue: number, x: number, y: number, mass: number,
 *   aimX: number, aimY: number, isBot: boolean, eaten: number }} Orb
 */

export class World {
  size = SIZE;
  /** @type {Map<number, Orb>} */
  #orbs = new Map();
  /** @type {{ x: number, y: number }[]} */
  #food = Array.from({ length: FOOD }, somewhere);
  #lastId = 0;
  #steps = 0;
  /** What has changed since the last step: pieces of food by number, and who has eaten whom. */
  #moved = [];
  #meals = [];

  constructor() {
    for (let index = 0; index < BOTS; index += 1) this.enter(NAMES[index], true);
  }

  /** A new orb somewhere. */
  enter(name, isBot = false) {
    // The snapshot has 16 bits for it.
    do this.#lastId = (this.#lastId + 1) % 65536;
    while (this.#orbs.has(this.#lastId));
    const id = this.#lastId;
    /** @type {Orb} */
    const orb = {
      ...somewhere(),
      id,
      name,
      hue: (id * 137) % 360,
      mass: FIRST_MASS,
      aimX: 0,
      aimY: 0,
      isBot,
      eaten: 0,
    };
    this.#orbs.set(id, orb);
    return orb;
  }

  /** @param {Orb} orb */
  leave(orb) {
    this.#orbs.delete(orb.id);
  }

  /** Where an orb wants to go: a vector no longer than 1. */
  steer(orb, x, y) {
    const length = Math.max(1, Math.hypot(x, y));
    orb.aimX = x / length;
    orb.aimY = y / length;
  }

  players() {
    return [...this.#orbs.values()].map(({ id, name, hue, isBot }) => ({ id, name, hue, isBot }));
  }

  /** Everything, for who has just come. */
  describe() {
    return { players: this.players(), food: this.#food.map(({ x, y }) => [x, y]) };
  }

  /** Lets some seconds pass. Returns what has changed beside positions, or `null`. */
  step(seconds) {
    this.#steps += 1;
    this.#moved = [];
    this.#meals = [];
    for (const orb of this.#orbs.values()) {
      if (orb.isBot) this.#think(orb);
      const speed = 340 / orb.mass ** 0.22;
      orb.x = clamp(orb.x + orb.aimX * speed * seconds);
      orb.y = clamp(orb.y + orb.aimY * speed * seconds);
      // The heavy lose weight, so that nobody stays on top for ever.
      orb.mass = Math.min(LARGEST_MASS, orb.mass * (1 - 0.00004 * orb.mass * seconds));
      this.#eatFood(orb);
    }
    const bySize = [...this.#orbs.values()].sort((one, other) => other.mass - one.mass);
    for (const [index, eater] of bySize.entries()) {
      for (const prey of bySize.slice(index + 1)) this.#eat(eater, prey);
    }
    if (this.#moved.length + this.#meals.length === 0) return null;
    return { food: this.#moved, meals: this.#meals };
  }

  #eatFood(orb) {
    const reach = radius(orb.mass) ** 2;
    for (const [index, piece] of this.#food.entries()) {
      if ((piece.x - orb.x) ** 2 + (piece.y - orb.y) ** 2 > reach) continue;
      orb.mass += 1;
      Object.assign(piece, somewhere());
      this.#moved.push([index, piece.x, piece.y]);
    }
  }

  #eat(eater, prey) {
    if (eater.mass < prey.mass * ADVANTAGE) return;
    const distance = Math.hypot(eater.x - prey.x, eater.y - prey.y);
    if (distance > radius(eater.mass)) return;
    eater.mass += prey.mass * 0.8;
    eater.eaten += 1;
    this.#meals.push({ eater: eater.id, prey: prey.id });
    Object.assign(prey, somewhere(), { mass: FIRST_MASS });
  }

  /** What a bot does: run from who is bigger and near, else go for what is smaller, else for food. */
  #think(bot) {
    const near =
      (limit) =>
      ({ x, y }) =>
        Math.hypot(x - bot.x, y - bot.y) < limit;
    const others = [...this.#orbs.values()].filter((orb) => orb !== bot);
    const threat = others.find((orb) => orb.mass > bot.mass * ADVANTAGE && near(260)(orb));
    if (threat) return this.steer(bot, bot.x - threat.x, bot.y - threat.y);
    const prey = others.find((orb) => bot.mass > orb.mass * ADVANTAGE && near(320)(orb));
    const target = prey ?? nearest(bot, this.#food);
    this.steer(bot, target.x - bot.x, target.y - bot.y);
  }

  /** Where everyone is: a step number, and for each orb its number, place and mass in eight bytes. */
  snapshot() {
    const bytes = Buffer.allocUnsafe(4 + this.#orbs.size * 8);
    bytes.writeUInt32LE(this.#steps, 0);
    let at = 4;
    for (const { id, x, y, mass } of this.#orbs.values()) {
      bytes.writeUInt16LE(id, at);
      bytes.writeUInt16LE(Math.round(x * 16), at + 2);
      bytes.writeUInt16LE(Math.round(y * 16), at + 4);
      bytes.writeUInt16LE(Math.round(mass * 16), at + 6);
      at += 8;
    }
    return bytes;
  }
}

export function radius(mass) {
  return 6 * Math.sqrt(mass);
}

function nearest({ x, y }, places) {
  const distance = (place) => (place.x - x) ** 2 + (place.y - y) ** 2;
  return places.reduce((best, place) => (distance(place) < distance(best) ? place : best));
}

function somewhere() {
  return { x: Math.round(Math.random() * SIZE), y: Math.round(Math.random() * SIZE) };
}

function clamp(place) {
  return Math.min(SIZE, Math.max(0, place));
}
