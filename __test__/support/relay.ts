/** Stands between a client and a server: sees what is on the wire, and cuts it as it likes. */
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { onTestFinished } from 'vitest';

export interface Relay {
  /** Where clients connect to. */
  port: number;
  /** Everything that the server has written so far. */
  fromServer(): Buffer;
}

/**
 * Passes on what one client says in pieces of `bytes`, each in a segment of its own and `pause` milliseconds
 * apart, and all that it is answered.
 */
export async function relay(
  port: number,
  bytes = Number.POSITIVE_INFINITY,
  { pause = 0 } = {},
): Promise<Relay> {
  const received: Buffer[] = [];
  const relayed = net.createServer({ allowHalfOpen: true }, async (client) => {
    const server = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    onTestFinished(() => void client.destroy());
    onTestFinished(() => void server.destroy());
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      socket.on('error', () => other.destroy());
      socket.on('end', () => other.end());
    }
    server.on('data', (chunk) => {
      received.push(chunk);
      client.write(chunk);
    });
    await once(server, 'connect');
    let passed = Promise.resolve();
    client.on('data', (chunk) => {
      const size = Math.min(bytes, chunk.length);
      const pieces = Array.from({ length: Math.ceil(chunk.length / size) }, (_, index) =>
        chunk.subarray(index * size, (index + 1) * size),
      );
      if (pause === 0) for (const piece of pieces) server.write(piece);
      else {
        passed = passed.then(async () => {
          for (const piece of pieces) {
            await wait(pause);
            server.write(piece);
          }
        });
      }
    });
  });
  relayed.listen(0, '127.0.0.1');
  await once(relayed, 'listening');
  onTestFinished(() => void relayed.close());
  return {
    port: (relayed.address() as AddressInfo).port,
    fromServer: () => Buffer.concat(received),
  };
}

/** The types of the records in what was written to the wire (RFC 8446 section 5.1). */
export function recordTypes(wire: Buffer): number[] {
  const types: number[] = [];
  for (let at = 0; at + 5 <= wire.length; at += 5 + wire.readUInt16BE(at + 3)) {
    types.push(wire[at] as number);
  }
  return types;
}

/** Types of records. */
export const ALERT = 21;
export const HANDSHAKE = 22;
export const APPLICATION_DATA = 23;
