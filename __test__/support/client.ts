/** An independent client: `ws`, with everything that arrives kept in a queue to be awaited. */
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { expect, onTestFinished } from 'vitest';
import WebSocket, { type ClientOptions } from 'ws';
import { clientOptions } from './transport.js';

export interface Client {
  ws: WebSocket;
  /** The next message: a string for text, a Buffer for binary. */
  next(): Promise<string | Buffer>;
  /** The next message as JSON. */
  nextJson<T = Record<string, unknown>>(): Promise<T>;
  /** Messages that arrived and were not taken by `next`. */
  readonly waiting: (string | Buffer)[];
  send(data: string | Buffer): void;
  close(code?: number, reason?: string): void;
  /** Settles with code and reason once the connection has ended. */
  closed: Promise<{ code: number; reason: string }>;
}

/** Who trusts a certificate of his own has no use for the context that the others share. */
function withDefaults(options: ClientOptions): ClientOptions {
  const shared = options.ca === undefined ? clientOptions : {};
  return { perMessageDeflate: false, ...shared, ...options };
}

/** Connects and resolves once the connection is open. Terminated after the test. */
export async function connect(url: string, options: ClientOptions = {}): Promise<Client> {
  const client = open(url, options);
  await once(client.ws, 'open');
  return client;
}

/** A message there and back: the client is served at this moment. */
export async function expectEchoOn(client: Client, text: string): Promise<void> {
  client.send(text);
  expect(await client.next()).toBe(text);
}

/** A connection of its own is echoed to: the server lives and serves. */
export async function expectEcho(url: string): Promise<void> {
  const client = await connect(url);
  await expectEchoOn(client, 'alive?');
  client.ws.terminate();
}

/** As `connect`, without waiting for the connection to open. */
export function open(url: string, options: ClientOptions = {}): Client {
  const ws = new WebSocket(url, withDefaults(options));
  const waiting: (string | Buffer)[] = [];
  const takers: ((message: string | Buffer) => void)[] = [];
  ws.on('message', (data: Buffer, isBinary: boolean) => {
    const message = isBinary ? data : data.toString();
    const taker = takers.shift();
    if (taker) taker(message);
    else waiting.push(message);
  });
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    ws.on('close', (code, reason) => resolve({ code, reason: reason.toString() }));
  });
  // Refusals and resets are awaited where a test expects them.
  ws.on('error', () => {});
  onTestFinished(() => ws.terminate());
  const next = () => {
    const message = waiting.shift();
    if (message !== undefined) return Promise.resolve(message);
    return new Promise<string | Buffer>((resolve) => takers.push(resolve));
  };
  return {
    ws,
    next,
    nextJson: async () => JSON.parse((await next()).toString()),
    waiting,
    send: (data) => ws.send(data),
    close: (code, reason) => ws.close(code, reason),
    closed,
  };
}

export interface Refusal {
  status: number;
  statusText: string;
  headers: IncomingMessage['headers'];
  body: string;
}

/** Connects where a refusal is expected and returns the HTTP response. */
export async function refused(url: string, options: ClientOptions = {}): Promise<Refusal> {
  const ws = new WebSocket(url, withDefaults(options));
  onTestFinished(() => ws.terminate());
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    ws.on('unexpected-response', (_request, incoming) => resolve(incoming));
    ws.on('open', () => reject(new Error('the connection was accepted')));
    ws.on('error', reject);
  });
  let body = '';
  for await (const chunk of response) body += chunk;
  const { statusCode, statusMessage, headers } = response;
  return { status: statusCode ?? 0, statusText: statusMessage ?? '', headers, body };
}
