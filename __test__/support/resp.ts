/** A small Redis client of the tests' own (RESP2), for what is done to a broker behind a node's back. */
import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import { onTestFinished } from 'vitest';
import { type Queue, queue } from './events.js';

/** A reply: simple and bulk strings are bytes, and an error is an Error. */
export type Reply = Buffer | number | null | Error | Reply[];

export interface RespClient {
  /** Sends a command and resolves with the reply, or rejects with the error that is replied. */
  command(...args: (string | number | Buffer)[]): Promise<Reply>;
  /** The same, where the reply is text or a list of texts; a nested list is flattened. */
  texts(...args: (string | number | Buffer)[]): Promise<string[]>;
  /** Subscribes to a pattern; from then on its messages come, as channel and payload. */
  listen(pattern: string): Promise<Queue<{ channel: Buffer; payload: Buffer }>>;
  close(): void;
}

/** Connects, and ends after the test. */
export async function respClient(
  to: net.TcpSocketConnectOpts | net.IpcSocketConnectOpts,
  { auth, secure }: { auth?: string[]; secure?: tls.ConnectionOptions } = {},
): Promise<RespClient> {
  const socket = secure
    ? tls.connect({ ...to, ...secure } as tls.ConnectionOptions)
    : net.connect(to);
  onTestFinished(() => void socket.destroy());
  await once(socket, secure ? 'secureConnect' : 'connect');
  // A broker that is killed takes its connections along.
  socket.on('error', () => {});
  const replies: ((reply: Reply) => void)[] = [];
  const messages = queue<{ channel: Buffer; payload: Buffer }>();
  let received: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    let at = 0;
    for (;;) {
      const parsed = parse(received, at);
      if (parsed === undefined) break;
      at = parsed.end;
      const { reply } = parsed;
      const [kind, , channel, payload] = Array.isArray(reply) ? reply : [];
      if (Buffer.isBuffer(kind) && kind.toString() === 'pmessage') {
        messages.push({ channel: channel as Buffer, payload: payload as Buffer });
      } else {
        replies.shift()?.(reply);
      }
    }
    received = Buffer.from(received.subarray(at));
  });
  socket.on('close', () => {
    for (const settle of replies.splice(0)) settle(new Error('the connection has ended'));
  });
  const command: RespClient['command'] = async (...args) => {
    const reply = await new Promise<Reply>((resolve) => {
      replies.push(resolve);
      if (socket.destroyed) resolve(new Error('the connection has ended'));
      else socket.write(request(args));
    });
    if (reply instanceof Error) throw reply;
    return reply;
  };
  if (auth) await command('AUTH', ...auth);
  return {
    command,
    texts: async (...args) => flat(await command(...args)).map(String),
    async listen(pattern) {
      await command('PSUBSCRIBE', pattern);
      return messages;
    },
    close: () => void socket.destroy(),
  };
}

/** All that is in lists of lists. */
function flat(reply: Reply): Reply[] {
  return Array.isArray(reply) ? reply.flatMap(flat) : [reply];
}

/** A command as a broker reads it. */
export function request(args: (string | number | Buffer)[]): Buffer {
  const parts = [Buffer.from(`*${args.length}\r\n`)];
  for (const arg of args) {
    const bytes = Buffer.isBuffer(arg) ? arg : Buffer.from(String(arg));
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n'));
  }
  return Buffer.concat(parts);
}

/** The reply that begins at `at`, unless it has not come to its end. */
function parse(bytes: Buffer, at: number): { reply: Reply; end: number } | undefined {
  const lineEnd = bytes.indexOf('\r\n', at);
  if (lineEnd < 0) return undefined;
  const line = bytes.toString('latin1', at + 1, lineEnd);
  let end = lineEnd + 2;
  switch (String.fromCharCode(bytes[at] ?? 0)) {
    case '+':
      return { reply: Buffer.from(line), end };
    case '-':
      return { reply: new Error(line), end };
    case ':':
      return { reply: Number(line), end };
    case '$': {
      const length = Number(line);
      if (length < 0) return { reply: null, end };
      if (bytes.length < end + length + 2) return undefined;
      return { reply: Buffer.from(bytes.subarray(end, end + length)), end: end + length + 2 };
    }
    case '*': {
      const reply: Reply[] = [];
      for (let count = Number(line); count > 0; count--) {
        const item = parse(bytes, end);
        if (item === undefined) return undefined;
        reply.push(item.reply);
        end = item.end;
      }
      return { reply, end };
    }
    default:
      throw new Error(`not RESP: ${JSON.stringify(line)}`);
  }
}
