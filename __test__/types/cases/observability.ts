import {
  type WebSocketCleanupOptions,
  WebSocketPlugin,
  type WSDiagnostics,
  type WSLogger,
  type WSLogLevel,
  type WSRejection,
  type WSRejectReason,
  type WSSocket,
} from '../../../index.js';
import type { Same } from '../fixtures/same.js';

const plugin = new WebSocketPlugin();

// Loggers.
new WebSocketPlugin({ logger: console });
new WebSocketPlugin({
  logger: (level, message, fields) => {
    const of: WSLogLevel = level;
    const text: string = message;
    const id: string | undefined = fields.connection;
    const err: Error | undefined = fields.err;
    void [of, text, id, err];
  },
});
// As pino has them.
interface Leveled {
  (fields: object, message?: string): void;
  (message: string): void;
}
declare const pino: Record<'debug' | 'info' | 'warn' | 'error', Leveled>;
const logger: WSLogger = pino;
new WebSocketPlugin({ logger, debug: true });
new WebSocketPlugin({ logger: async () => {} });
// @ts-expect-error it has no error()
new WebSocketPlugin({ logger: { debug() {}, info() {}, warn() {} } });
// @ts-expect-error neither a function nor an object
new WebSocketPlugin({ logger: 'console' });

// Refused requests.
plugin.on('rejected', (rejection) => {
  const same: Same<typeof rejection, WSRejection> = true;
  const reason: WSRejectReason = rejection.reason;
  const status: number = rejection.status;
  // @ts-expect-error there may be none
  const origin: string = rejection.origin;
  void [same, reason, status, origin];
});

// Metrics.
const text: string = plugin.metrics();

// Ends in waves.
const over: Promise<void> = plugin.cleanup({ overMs: 1000, code: 1012, reason: 'restart' });
plugin.cleanup({});
plugin.cleanup(undefined);
const options: WebSocketCleanupOptions = { overMs: undefined, code: undefined, reason: undefined };
// @ts-expect-error milliseconds are a number
plugin.cleanup({ overMs: '1s' });
// @ts-expect-error no such option
plugin.cleanup({ over: 1000 });

// Channels.
const names: Same<
  keyof WSDiagnostics,
  | 'nextrush-websocket:connection'
  | 'nextrush-websocket:close'
  | 'nextrush-websocket:rejected'
  | 'nextrush-websocket:error'
> = true;
declare const closed: WSDiagnostics['nextrush-websocket:close'];
const socket: WSSocket = closed.connection;

void [text, over, options, names, socket];
