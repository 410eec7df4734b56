import type { WSConnection } from '../../../index.js';
import type { Same } from '../fixtures/same.js';

declare const socket: WSConnection;

// The documented members with their documented types, and `broadcast`: no more, so that a double
// that is written by hand is one.
const members: Same<
  Pick<WSConnection, keyof WSConnection>,
  {
    id: string;
    url: string;
    isAlive: boolean;
    lastPong: number;
    send(data: string | Buffer): void;
    close(code?: number, reason?: string): void;
    join(room: string): void;
    leave(room: string): void;
    broadcast(room: string, data: string | Buffer): void;
    onMessage(listener: (data: string | Buffer) => void): void;
    onClose(listener: (code: number, reason: string) => void): void;
    ping(): void;
    markAlive(): void;
  }
> = true;

class Double {
  id = 'double';
  url = '/chat';
  isAlive = true;
  lastPong = 0;
  sent: (string | Buffer)[] = [];
  send = (data: string | Buffer) => void this.sent.push(data);
  close = (_code?: number, _reason?: string) => {};
  join = (_room: string) => {};
  leave = (_room: string) => {};
  broadcast = (_room: string, _data: string | Buffer) => {};
  onMessage = (_listener: (data: string | Buffer) => void) => {};
  onClose = (_listener: (code: number, reason: string) => void) => {};
  ping = () => {};
  markAlive = () => {};
}
const double: WSConnection = new Double();

// send
socket.send('text');
socket.send(Buffer.from('bytes'));
// @ts-expect-error an object is not serialised
socket.send({ type: 'chat' });
// @ts-expect-error a number is no message
socket.send(1);
// @ts-expect-error there is a message in a message
socket.send();

// close
socket.close();
socket.close(1000);
socket.close(1008, 'Policy');
// @ts-expect-error the code comes first
socket.close('Policy');
// @ts-expect-error a reason is text
socket.close(1008, Buffer.from('Policy'));

// Rooms
socket.join('room');
socket.leave('room');
socket.broadcast('room', 'text');
socket.broadcast('room', Buffer.from('bytes'));
// @ts-expect-error one room at a time
socket.join(['a', 'b']);
// @ts-expect-error a room is a string
socket.leave(1);
// @ts-expect-error to a room, always
socket.broadcast('text');
// @ts-expect-error an object is not serialised
socket.broadcast('room', { type: 'chat' });

// Listeners, inline ones inferred, async ones welcome.
socket.onMessage((data) => {
  const same: Same<typeof data, string | Buffer> = true;
  return same;
});
socket.onMessage(async (data) => {
  await Promise.resolve(data.toString());
});
socket.onMessage(() => {});
// @ts-expect-error may also be binary
socket.onMessage((data: string) => data.trim());
// @ts-expect-error there is no event name
socket.onMessage('message', () => {});

socket.onClose((code, reason) => {
  const same: Same<[typeof code, typeof reason], [number, string]> = true;
  return same;
});
socket.onClose(async () => {});
// @ts-expect-error the reason is a string
socket.onClose((_code: number, reason: Buffer) => reason.byteLength);

// User data goes through a cast, as in the reference.
(socket as WSConnection & { user?: { id: string } }).user = { id: '1' };
// @ts-expect-error nothing of the kind is declared
socket.user = { id: '1' };

export { double, members };
