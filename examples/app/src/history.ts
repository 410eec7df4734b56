/** What was said, as long as the process runs. Stands for a database. */

export interface Said {
  type: 'said';
  id: number;
  from: string;
  text: string;
  at: number;
}

export class History {
  readonly #kept: number;
  readonly #rooms = new Map<string, Said[]>();
  #lastId = 0;

  constructor(kept = 100) {
    this.#kept = kept;
  }

  add(room: string, from: string, text: string): Said {
    this.#lastId += 1;
    const message: Said = { type: 'said', id: this.#lastId, from, text, at: Date.now() };
    const said = this.#rooms.get(room) ?? [];
    said.push(message);
    this.#rooms.set(room, said.slice(-this.#kept));
    return message;
  }

  /** What was said in a room after a message. */
  since(room: string, id = 0): Said[] {
    return (this.#rooms.get(room) ?? []).filter((message) => message.id > id);
  }
}
