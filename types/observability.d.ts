/** What operators and tracers are told. */

import type { IncomingMessage } from 'node:http';
import type { WebSocketPluginOptions } from './options.js';
import type { WebSocketPlugin } from './plugin.js';
import type { WSSocket } from './socket.js';
import type { WSRejectReason } from './stats.js';

/**
 * An upgrade request that was refused. Its texts are as the client has sent them, up to 1,024 UTF-16
 * units of each, and may have anything in them: escape them where you show them.
 */
export interface WSRejection {
  /** Why; also the key of its count in the statistics. */
  reason: WSRejectReason;
  /** The HTTP status that it was answered by, or would have been if the client had waited. */
  status: number;
  /** The `Origin` header, where there was one. */
  origin: string | undefined;
  /**
   * The address of the client, as {@link WSSocket.remoteAddress} would have it: `proxyProtocol` and
   * `trustProxy` count. `undefined` where there is none, or none that is still known.
   */
  address: string | undefined;
  /** The path, without the query. */
  path: string;
}

/**
 * How much a line matters. `debug`: a connection was accepted or has ended, a room came or went. `info`: a
 * request was refused, or other servers are there. `warn`: other servers are not there, or messages
 * between them are missing. `error`: what is an `error` event, where nobody listens to that.
 */
export type WSLogLevel = 'debug' | 'info' | 'warn' | 'error';

/** What belongs to a line of a logger. Its texts are printable and short, whatever clients have sent. */
export interface WSLogFields {
  /** `'WebSocketPlugin'`. */
  plugin: string;
  /** The id of the connection that the line is about. */
  connection?: string | undefined;
  /** The close code of a connection that has ended. */
  code?: number | undefined;
  /** Why a connection has ended, or a request was refused. */
  reason?: string | undefined;
  /** The HTTP status of a refused request. */
  status?: number | undefined;
  /** Whether the bytes of an accepted connection go through a stream of Node's. */
  bridged?: boolean | undefined;
  /** What was thrown, as it is. */
  err?: Error | undefined;
}

/** A logger that is a function. */
export type WSLogFunction = (level: WSLogLevel, message: string, fields: WSLogFields) => unknown;

/**
 * A logger that takes fields first and a text after them, as pino and bunyan do, or that has a method
 * `log` and takes the text first, as the console and winston do.
 */
export interface WSLoggerMethods {
  // biome-ignore lint/suspicious/noExplicitAny: loggers differ in what they take
  debug(...args: any[]): unknown;
  // biome-ignore lint/suspicious/noExplicitAny: likewise
  info(...args: any[]): unknown;
  // biome-ignore lint/suspicious/noExplicitAny: likewise
  warn(...args: any[]): unknown;
  // biome-ignore lint/suspicious/noExplicitAny: likewise
  error(...args: any[]): unknown;
}

/** What {@link WebSocketPluginOptions.logger} takes. */
export type WSLogger = WSLogFunction | WSLoggerMethods;

/**
 * What is published on Node's `diagnostics_channel`, by the name of the channel. Nothing is made for a
 * channel that nobody subscribes to. A subscriber that throws is an uncaught exception, by Node's rule.
 */
export interface WSDiagnostics {
  /** A connection has been accepted. Published in the async context of its request. */
  'nextrush-websocket:connection': {
    plugin: WebSocketPlugin;
    connection: WSSocket;
    request: IncomingMessage;
  };
  /** A connection has ended. */
  'nextrush-websocket:close': {
    plugin: WebSocketPlugin;
    connection: WSSocket;
    code: number;
    reason: string;
  };
  /** A request was refused. Published in the async context of that request. */
  'nextrush-websocket:rejected': WSRejection & { plugin: WebSocketPlugin };
  /** What the event `error` tells, whether somebody listens to that or not. */
  'nextrush-websocket:error': {
    plugin: WebSocketPlugin;
    error: Error;
    connection: WSSocket | undefined;
  };
}
