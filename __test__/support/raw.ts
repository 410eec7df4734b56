/** A client that writes bytes, for what no well-behaved client does. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type net from 'node:net';
import { onTestFinished } from 'vitest';
import { dial } from './transport.js';

/** Opcodes (RFC 6455 section 11.8). */
export const CONTINUATION = 0;
export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

export interface RawFrame {
  fin: boolean;
  rsv: number;
  opcode: number;
  masked: boolean;
  payload: Buffer;
}

/** Builds a client frame. `len` overrides the declared length and its form. */
export function frame(
  opcode: number,
  payload: Buffer | string = '',
  { fin = true, rsv = 0, mask = true }: { fin?: boolean; rsv?: number; mask?: boolean } = {},
): Buffer {
  const data = Buffer.from(payload);
  const first = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  const maskBit = mask ? 0x80 : 0;
  let header: Buffer;
  if (data.length < 126) {
    header = Buffer.from([first, maskBit | data.length]);
  } else if (data.length < 65536) {
    header = Buffer.from([first, maskBit | 126, 0, 0]);
    header.writeUInt16BE(data.length, 2);
  } else {
    header = Buffer.alloc(10);
    header[0] = first;
    header[1] = maskBit | 127;
    header.writeBigUInt64BE(BigInt(data.length), 2);
  }
  if (!mask) return Buffer.concat([header, data]);
  const key = randomBytes(4);
  const masked = Buffer.from(data.map((byte, index) => byte ^ (key[index % 4] as number)));
  return Buffer.concat([header, key, masked]);
}

/** The payload of a close frame. */
export function closePayload(code: number, reason = ''): Buffer {
  const payload = Buffer.alloc(2 + Buffer.byteLength(reason));
  payload.writeUInt16BE(code);
  payload.write(reason, 2);
  return payload;
}

export class RawClient {
  readonly socket: net.Socket;
  /** The connection below `socket`, where that is encrypted; otherwise the same. */
  readonly tcp: net.Socket;
  /** What has come and is not read yet: the last bytes of the first `#filled` ones of `#store`. */
  #buffer: Buffer = Buffer.alloc(0);
  #store: Buffer = this.#buffer;
  #filled = 0;
  #ended = false;
  #waiters: (() => void)[] = [];

  constructor(socket: net.Socket, tcp = socket) {
    this.socket = socket;
    this.tcp = tcp;
    socket.on('data', (chunk) => {
      this.#append(chunk);
      this.#wake();
    });
    socket.on('close', () => {
      this.#ended = true;
      this.#wake();
    });
    socket.on('end', () => {
      this.#ended = true;
      this.#wake();
    });
    socket.on('error', () => {});
    onTestFinished(() => void socket.destroy());
  }

  /**
   * Adds what has come. Each chunk joined with all before it would be copied as often as chunks come:
   * for messages of megabytes, in TLS records of 16 KiB, half a minute where memory comes from musl.
   */
  #append(chunk: Buffer) {
    const length = this.#buffer.length + chunk.length;
    if (this.#filled + chunk.length > this.#store.length) {
      // Another one, since what has been read lies in this one.
      this.#store = Buffer.allocUnsafe(2 * length);
      this.#filled = this.#buffer.copy(this.#store);
    }
    this.#filled += chunk.copy(this.#store, this.#filled);
    this.#buffer = this.#store.subarray(this.#filled - length, this.#filled);
  }

  #wake() {
    for (const waiter of this.#waiters.splice(0)) waiter();
  }

  async #until<T>(read: () => T | undefined): Promise<T> {
    for (;;) {
      const value = read();
      if (value !== undefined) return value;
      if (this.#ended) throw new Error('the connection has ended');
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  write(data: Buffer | string): void {
    this.socket.write(data);
  }

  /** Ends the connection in the way of a peer that crashes: by a reset, and with no word of TLS. */
  reset(): void {
    this.tcp.resetAndDestroy();
  }

  /** Reads an HTTP response head. */
  async head(): Promise<string> {
    return this.#until(() => {
      const end = this.#buffer.indexOf('\r\n\r\n');
      if (end < 0) return undefined;
      const head = this.#buffer.subarray(0, end).toString('latin1');
      this.#buffer = this.#buffer.subarray(end + 4);
      return head;
    });
  }

  /** Reads everything before `text`. */
  async until(text: string): Promise<Buffer> {
    return this.#until(() => {
      const end = this.#buffer.indexOf(text);
      if (end < 0) return undefined;
      const bytes = this.#buffer.subarray(0, end);
      this.#buffer = this.#buffer.subarray(end);
      return bytes;
    });
  }

  /** Reads so many bytes. */
  async bytes(count: number): Promise<Buffer> {
    return this.#until(() => {
      if (this.#buffer.length < count) return undefined;
      const bytes = this.#buffer.subarray(0, count);
      this.#buffer = this.#buffer.subarray(count);
      return bytes;
    });
  }

  /** Reads the next frame of the server. */
  async frame(): Promise<RawFrame> {
    return this.#until(() => {
      const bytes = this.#buffer;
      if (bytes.length < 2) return undefined;
      const first = bytes[0] as number;
      const second = bytes[1] as number;
      let length = second & 0x7f;
      let start = 2;
      if (length === 126) {
        if (bytes.length < 4) return undefined;
        length = bytes.readUInt16BE(2);
        start = 4;
      } else if (length === 127) {
        if (bytes.length < 10) return undefined;
        length = Number(bytes.readBigUInt64BE(2));
        start = 10;
      }
      if (bytes.length < start + length) return undefined;
      this.#buffer = bytes.subarray(start + length);
      return {
        fin: (first & 0x80) !== 0,
        rsv: (first >> 4) & 7,
        opcode: first & 15,
        masked: (second & 0x80) !== 0,
        payload: bytes.subarray(start, start + length),
      };
    });
  }

  /** Resolves with everything not read yet once the server has ended the connection. */
  async end(): Promise<Buffer> {
    while (!this.#ended) await new Promise<void>((resolve) => this.#waiters.push(resolve));
    return this.#buffer;
  }
}

/** The text of an upgrade request; `headers` replaces or (with undefined) removes headers. */
export function upgradeRequest(
  path: string,
  headers: Record<string, string | undefined> = {},
  { method = 'GET', version = '1.1' }: { method?: string; version?: string } = {},
): string {
  const all: Record<string, string | undefined> = {
    Host: '127.0.0.1',
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version': '13',
    ...headers,
  };
  const lines = Object.entries(all)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/${version}\r\n${lines.join('')}\r\n`;
}

/** A connection that may compress, after its handshake. */
export function rawUpgradeDeflating(port: number, early?: Buffer): Promise<RawClient> {
  return rawUpgrade(port, '/ws', early, { 'Sec-WebSocket-Extensions': 'permessage-deflate' });
}

/** A connection without anything sent. */
export async function rawConnect(port: number): Promise<RawClient> {
  const { stream, tcp, ready } = dial(port);
  const client = new RawClient(stream, tcp);
  await once(stream, ready);
  return client;
}

/**
 * As `rawUpgrade`, from the moment on from which there is a place: who has left keeps his until the
 * engine has nothing more to send to him, which may be a moment after the plugin has told the end.
 */
export async function rawUpgradeOncePossible(port: number, path?: string): Promise<RawClient> {
  for (;;) {
    try {
      return await rawUpgrade(port, path);
    } catch (error) {
      if (!String(error).includes(' 503 ')) throw error;
    }
  }
}

/** A connection after its handshake. `early` is sent in one write with the request. */
export async function rawUpgrade(
  port: number,
  path = '/ws',
  early?: Buffer,
  headers?: Record<string, string>,
): Promise<RawClient> {
  const client = await rawConnect(port);
  const request = Buffer.from(upgradeRequest(path, headers));
  client.write(early ? Buffer.concat([request, early]) : request);
  const head = await client.head();
  if (!head.startsWith('HTTP/1.1 101 ')) throw new Error(`refused: ${head}`);
  return client;
}
