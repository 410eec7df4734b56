import type { WSConnection } from '../../../index.js';
import type { Same } from '../fixtures/same.js';

declare const socket: WSConnection;

// Data.
const id: Same<WSConnection['id'], string> = true;
const url: Same<WSConnection['url'], string> = true;
const isAlive: Same<WSConnection['isAlive'], boolean> = true;
const lastPong: Same<WSConnection['lastPong'], number> = true;
const protocol: Same<WSConnection['protocol'], string> = true;
const bufferedAmount: Same<WSConnection['bufferedAmount'], number> = true;
// @ts-expect-error was agreed on, cannot be set
socket.protocol = 'chat';
// @ts-expect-error counts what happens, cannot be set
socket.bufferedAmount = 0;

// Methods, as they are documented but for `send`, which takes more.
const methods: Same<
  Pick<WSConnection, 'send' | 'close' | 'join' | 'leave' | 'broadcast' | 'onMessage' | 'onClose'>,
  {
    send(data: string | Buffer | Uint8Array | ArrayBuffer): void;
    close(code?: number, reason?: string): void;
    join(room: string): void;
    leave(room: string): void;
    broadcast(room: string, data: string | Buffer): void;
    onMessage(listener: (data: string | Buffer) => void): void;
    onClose(listener: (code: number, reason: string) => void): void;
  }
> = true;

// send
socket.send('text');
socket.send(Buffer.from('bytes'));
socket.send(new Uint8Array(2));
socket.send(new ArrayBuffer(2));
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

// Heartbeat
const pinged: Same<WSConnection['ping'], () => void> = true;
const marked: Same<WSConnection['markAlive'], () => void> = true;

// User data goes through a cast, as in the reference.
(socket as WSConnection & { user?: { id: string } }).user = { id: '1' };
// @ts-expect-error nothing of the kind is declared
socket.user = { id: '1' };

export { bufferedAmount, id, isAlive, lastPong, marked, methods, pinged, protocol, url };
