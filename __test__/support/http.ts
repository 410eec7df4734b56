/** HTTP, by Node's client and by hand: the bytes of a response, and whether the connection ended. */
import { once } from 'node:events';
import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import { buffer } from 'node:stream/consumers';
import { type RawClient, rawConnect, upgradeRequest } from './raw.js';
import { clientOptions, encrypts, httpUrl } from './transport.js';

/** Makes a request as `fetch` does, which cannot be told whose certificate to trust. */
export async function fetchFrom(
  port: number,
  path: string,
  { method = 'GET', headers = {}, body = '' } = {},
): Promise<Response> {
  const { request: begin } = encrypts ? https : http;
  const options = { method, headers, agent: false, ...clientOptions };
  const sent = begin(httpUrl(port, path), options).end(body);
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  const received = await buffer(response);
  return new Response(received, {
    status: response.statusCode,
    headers: response.headers as Record<string, string>,
  });
}

export interface Answer {
  status: number;
  statusText: string;
  /** By name in lower case; repeated ones as a list. */
  headers: Record<string, string | string[]>;
  body: string;
}

/** Takes apart a response head and what came after it. */
export function parseResponse(head: string, body = ''): Answer {
  const [statusLine = '', ...lines] = head.split('\r\n');
  const [, status, statusText] = /^HTTP\/1\.1 (\d{3}) (.*)$/.exec(statusLine) ?? [];
  if (status === undefined) throw new Error(`not an HTTP response: ${head}`);
  const headers: Answer['headers'] = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    const before = headers[name];
    headers[name] = before === undefined ? value : [before, value].flat();
  }
  return { status: Number(status), statusText: statusText ?? '', headers, body };
}

/** Sends `request` and resolves with the response once the server has ended the connection. */
export async function answerTo(port: number, request: string | Buffer): Promise<Answer> {
  const client = await rawConnect(port);
  client.write(request);
  return answerOf(client);
}

/** The response on a connection on which a request was sent, once the server has ended it. */
export async function answerOf(client: RawClient): Promise<Answer> {
  const bytes = await client.end();
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) throw new Error(`no HTTP response: ${JSON.stringify(bytes.toString('latin1'))}`);
  const head = bytes.subarray(0, end).toString('latin1');
  return parseResponse(head, bytes.subarray(end + 4).toString('utf8'));
}

/** The status of the response to an upgrade request, 101 included; then leaves. */
export async function upgradeStatus(
  port: number,
  path = '/ws',
  headers: Record<string, string | undefined> = {},
): Promise<number> {
  const client = await rawConnect(port);
  client.write(upgradeRequest(path, headers));
  const { status } = parseResponse(await client.head());
  client.socket.destroy();
  return status;
}
