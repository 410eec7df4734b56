import type {
  WSConnection,
  WSListener,
  WSSendOptions,
  WSSendResult,
  WSSocket,
  WSSocketEvents,
} from '../../../index.js';
import type { Same } from '../fixtures/same.js';

declare const socket: WSSocket;

// It is what the reference calls a connection.
const connection: WSConnection = socket;

// Data.
const protocol: Same<WSSocket['protocol'], string> = true;
const bufferedAmount: Same<WSSocket['bufferedAmount'], number> = true;
// @ts-expect-error was agreed on, cannot be set
socket.protocol = 'chat';
// @ts-expect-error counts what happens, cannot be set
socket.bufferedAmount = 0;
// @ts-expect-error comes from the path, cannot be set
socket.params = {};
socket.data = { user: 'ada' };
socket.data.user = 'ada';

// send
const result: Same<WSSendResult, 'sent' | 'queued' | 'dropped'> = true;
const options: Same<
  WSSendOptions,
  { compress?: boolean | undefined; volatile?: boolean | undefined }
> = true;
const sent: WSSendResult[] = [
  socket.send('text'),
  socket.send(Buffer.from('bytes')),
  socket.send(new Uint8Array(2)),
  socket.send(new ArrayBuffer(2), { volatile: true, compress: undefined }),
  socket.json({ type: 'chat' }, { compress: false }),
];
// @ts-expect-error an object is what json() is for
socket.send({ type: 'chat' });
// @ts-expect-error there is a message in a message
socket.send();
// @ts-expect-error no such option
socket.send('text', { binary: true });

// Listeners may be async, and what they return otherwise does not matter.
socket.onMessage((data) => socket.send(data));
socket.onMessage(async (data) => {
  const same: Same<typeof data, string | Buffer> = true;
  await Promise.resolve(same);
});
socket.onClose((code, reason) => {
  const same: Same<[typeof code, typeof reason], [number, string]> = true;
  return same;
});
socket.onDrain(() => socket.json('again'));
socket.onPong((latencyMs) => latencyMs.toFixed());
const either = (_data: string | Buffer): void | Promise<void> => {};
socket.onMessage(either);
socket.off('message', either);
socket.off('close', async (code) => void code.toFixed());
// @ts-expect-error may also be binary
socket.onMessage((data: string) => data.trim());
// @ts-expect-error no such event
socket.off('ping', () => {});
const events: Same<
  WSSocketEvents,
  {
    message: [data: string | Buffer];
    close: [code: number, reason: string];
    drain: [];
    pong: [latencyMs: number];
  }
> = true;
const listener: WSListener<[number]> = async (count) => void count.toFixed();

export { bufferedAmount, connection, events, listener, options, protocol, result, sent };
