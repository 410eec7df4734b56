/** A message that is all there is to send takes a shorter way. Nobody may see that it does. */
import { expect, test } from 'vitest';
import type { WSSocket } from '../index.js';
import { connect, expectEchoOn } from './support/client.js';
import { echo, pair, rawPair } from './support/pair.js';
import { CLOSE, closePayload, frame, PING, PONG, TEXT } from './support/raw.js';
import { serve } from './support/server.js';
import { until } from './support/until.js';

test('messages and broadcasts of one listener leave in the order of the calls', async () => {
  const { url } = await serve({}, ({ wsApp }) => {
    wsApp.ws('/ws', (socket) => {
      socket.join('room');
      socket.onMessage((data) => {
        const parts = String(data).split(' ');
        for (const part of parts) {
          if (part.startsWith('all')) wsApp.wsBroadcast(part, 'room');
          else socket.send(part);
        }
      });
    });
  });
  const client = await connect(url());
  for (const parts of ['a', 'a b', 'a all', 'all a', 'all a b all2 c', 'a b c d e f', 'a all b']) {
    for (let round = 0; round < 20; round++) {
      client.send(parts);
      for (const part of parts.split(' ')) expect(await client.next()).toBe(part);
    }
  }
});

test('what is sent one by one, in timers, ticks and listeners, keeps its order', async () => {
  const { client, socket } = await pair({}, echo);
  for (let round = 0; round < 100; round++) {
    socket.send('tick');
    setImmediate(() => socket.send('immediate'));
    expect(await client.next()).toBe('tick');
    expect(await client.next()).toBe('immediate');
    await expectEchoOn(client, `${round}`);
  }
});

test('a message before close() arrives before the close frame, and none after it', async () => {
  const { client, socket } = await rawPair();
  socket.send('last');
  socket.close(4000, 'bye');
  socket.send('too late');
  expect((await client.frame()).payload.toString()).toBe('last');
  expect(await client.frame()).toMatchObject({
    opcode: CLOSE,
    payload: closePayload(4000, 'bye'),
  });
  client.write(frame(CLOSE, closePayload(4000)));
  expect(await client.end()).toEqual(Buffer.alloc(0));
});

test('an answer to the last message before a close frame of the peer goes out', async () => {
  for (let round = 0; round < 20; round++) {
    const { client } = await rawPair({}, echo);
    client.write(Buffer.concat([frame(TEXT, 'last'), frame(CLOSE, closePayload(1000))]));
    expect((await client.frame()).payload.toString()).toBe('last');
    expect((await client.frame()).opcode).toBe(CLOSE);
  }
});

test('pings between messages are answered, and both arrive whole', async () => {
  const { client } = await rawPair({}, echo);
  for (let round = 0; round < 200; round++) {
    client.write(Buffer.concat([frame(TEXT, `${round}`), frame(PING, `${round}`)]));
    const both = [await client.frame(), await client.frame()];
    expect(both.map(({ opcode }) => opcode).sort()).toEqual([TEXT, PONG]);
    for (const { payload } of both) expect(payload.toString()).toBe(`${round}`);
  }
});

test('each message is counted once, and no longer as buffered once it has left', async () => {
  let sender: WSSocket | undefined;
  const buffered: number[] = [];
  const { client, plugin } = await pair({}, (socket) => {
    sender = socket;
    socket.onMessage((data) => {
      socket.send(data);
      buffered.push(socket.bufferedAmount);
    });
  });
  for (let round = 0; round < 50; round++) await expectEchoOn(client, 'x'.repeat(round));
  // A header of two bytes, and what is sent.
  expect(buffered).toEqual(buffered.map((_, round) => round + 2));
  await until(() => sender?.bufferedAmount === 0);
  expect(plugin.getStats()).toMatchObject({ messagesReceived: 50, messagesSent: 50 });
});
