/** µWebSockets.js, which the npm registry does not have: whoever has installed it can measure it. */
import { createRequire } from 'node:module';
import { announce, createCommander, httpAnswers, ROOM, settings } from './shared.js';

const uws = createRequire(import.meta.url)('uWebSockets.js');

/** Above what any scenario has under way: at the default of 64 KiB bursts would be dropped. */
const LARGEST = 64 * 1024 * 1024;

const { perMessageDeflate: compress = false, ...options } = settings.options;
const behavior = {
  compression: compress ? uws.SHARED_COMPRESSOR : uws.DISABLED,
  maxPayloadLength: LARGEST,
  maxBackpressure: LARGEST,
  ...options,
};

const app = settings.tls
  ? uws.SSLApp({ cert_file_name: settings.tlsFiles.cert, key_file_name: settings.tlsFiles.key })
  : uws.App();

app.ws('/echo', {
  ...behavior,
  message: (socket, message, isBinary) => socket.send(message, isBinary, compress),
});

app.ws('/room', { ...behavior, open: (socket) => socket.subscribe(ROOM) });

const command = createCommander((message) => app.publish(ROOM, message, false, compress));
app.ws('/room-command', { ...behavior, message: (_, message) => command(Buffer.from(message)) });

for (const [route, answer] of Object.entries(httpAnswers)) {
  app.get(route, (response) => {
    const body = answer();
    if (body instanceof Promise) {
      response.onAborted(() => {});
      body.then((later) => response.cork(() => end(response, later)));
    } else {
      end(response, body);
    }
  });
}

function end(response, body) {
  response.end(typeof body === 'string' ? body : JSON.stringify(body));
}

app.listen('127.0.0.1', 0, (token) => announce(uws.us_socket_local_port(token)));
