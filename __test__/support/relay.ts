/** Stands between a client and a server: sees what is on the wire, and cuts it as it likes. */
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

export interface Relay {
  /** Where clients connect to. */
  port: number;
  /** Everything that the server has written so far. */
  fromServer(): Buffer;
}

/** Passes on what one client says in pieces of `bytes`, each in a segment of its own, and all that it is answered. */
export async function relay(port: number, bytes = Number.POSITIVE_INFINITY): Promise<Relay> {
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
    client.on('data', (chunk) => {
      const size = Math.min(bytes, chunk.length);
      for (let at = 0; at < chunk.length; at += size) server.write(chunk.subarray(at, at + size));
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
