/** What was said, as long as the process runs. Stands for a database. */

export interface Said {
  type: 'said';
  id: number;
  from: string;
  text: string;
  /** In milliseconds since the epoch. */
  at: number;
}

/** Rooms and messages of each that are kept. */
const MOST_ROOMS = 1000;
const MOST_MESSAGES = 100;

export class History {
  /** By room, the one in which somebody has spoken last at the end. */
  readonly #rooms = new Map<string, Said[]>();
  #lastId = 0;

  add(room: string, from: string, text: string): Said {
    this.#lastId += 1;
    const message: Said = { type: 'said', id: this.#lastId, from, text, at: Date.now() };
    const said = [...this.since(room), message].slice(-MOST_MESSAGES);
    this.#rooms.delete(room);
    this.#rooms.set(room, said);
    const [oldest = room] = this.#rooms.keys();
    if (this.#rooms.size > MOST_ROOMS) this.#rooms.delete(oldest);
    return message;
  }

  /** What was said in a room after the message of that number. */
  since(room: string, id = 0): Said[] {
    return (this.#rooms.get(room) ?? []).filter((message) => message.id > id);
  }
}
