/** Stands between a node and its broker, and lets nothing pass, or nobody in, when it is told so. */
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

export interface Gate {
  port: number;
  url: string;
  /** Connections that are there. */
  readonly open: number;
  /** Connections that there have been. */
  readonly accepted: number;
  /** Cuts all connections, and new ones at once, until it is opened. */
  shut(): void;
  /** Cuts all connections, and lets new ones in. */
  cut(): void;
  /** Keeps all connections, and lets no byte pass in either direction. */
  stall(): void;
  /** Lets everything pass, what has been kept first. */
  letPass(): void;
}

/** A way to a port of this machine. */
export async function gateTo(port: number): Promise<Gate> {
  const sockets = new Set<net.Socket>();
  let accepted = 0;
  let open = 0;
  let isShut = false;
  let isStalled = false;
  const server = net.createServer({ noDelay: true }, (client) => {
    accepted += 1;
    if (isShut) {
      client.destroy();
      return;
    }
    open += 1;
    const broker = net.connect({ port, host: '127.0.0.1', noDelay: true });
    client.on('close', () => {
      open -= 1;
    });
    for (const [socket, other] of [
      [client, broker],
      [broker, client],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
      socket.on('data', (chunk) => {
        if (!other.write(chunk)) socket.pause();
      });
      other.on('drain', () => {
        if (!isStalled) socket.resume();
      });
      if (isStalled) socket.pause();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  function cut() {
    for (const socket of sockets) socket.destroy();
  }
  onTestFinished(() => {
    cut();
    server.close();
  });
  const own = (server.address() as AddressInfo).port;
  return {
    port: own,
    url: `redis://127.0.0.1:${own}`,
    get open() {
      return open;
    },
    get accepted() {
      return accepted;
    },
    cut,
    shut() {
      isShut = true;
      cut();
    },
    stall() {
      isStalled = true;
      for (const socket of sockets) socket.pause();
    },
    letPass() {
      isShut = false;
      isStalled = false;
      for (const socket of sockets) socket.resume();
    },
  };
}
