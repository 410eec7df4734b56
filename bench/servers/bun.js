/** `Bun.serve` with its own publish; runs under the `bun` binary only. */
import { announce, createCommander, httpAnswers, ROOM, settings } from './shared.js';

/** Bun agrees on compression, but compresses only what it is told to. */
const compress = settings.options.perMessageDeflate === true;

const command = createCommander((message) => server.publish(ROOM, message, compress));

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  tls: settings.tls,
  fetch(request, self) {
    const { pathname } = new URL(request.url);
    if (!request.headers.has('upgrade')) return respond(pathname);
    if (self.upgrade(request, { data: { pathname } })) return undefined;
    return new Response('upgrade failed', { status: 400 });
  },
  websocket: {
    perMessageDeflate: false,
    ...settings.options,
    open(socket) {
      if (socket.data.pathname === '/room') socket.subscribe(ROOM);
    },
    message(socket, message) {
      if (socket.data.pathname === '/echo') socket.send(message, compress);
      else if (socket.data.pathname === '/room-command') command(message);
    },
  },
});

announce(server.port);

/** @param {string} pathname */
async function respond(pathname) {
  const answer = await httpAnswers[pathname]?.();
  if (answer === undefined) return new Response('not found', { status: 404 });
  return typeof answer === 'string' ? new Response(answer) : Response.json(answer);
}
