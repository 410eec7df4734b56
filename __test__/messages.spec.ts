import { expect, test } from 'vitest';
import { connect } from './support/client.js';
import { serve } from './support/server.js';

test('text comes as a string and binary as a Buffer, and both go back as they came', async () => {
  const kinds: string[] = [];
  const { url } = await serve({}, ({ wsApp }) => {
    wsApp.ws('/echo', (socket) => {
      socket.onMessage((data) => {
        kinds.push(Buffer.isBuffer(data) ? 'Buffer' : typeof data);
        socket.send(data);
      });
    });
  });
  const client = await connect(url('/echo'));
  client.send('héllo €');
  expect(await client.next()).toBe('héllo €');
  client.send(Buffer.from([0, 255, 1]));
  expect(await client.next()).toEqual(Buffer.from([0, 255, 1]));
  expect(kinds).toEqual(['string', 'Buffer']);
});
