import { EventEmitter } from 'node:events';
import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from 'node:http';
import type { ParsedUrlQuery } from 'node:querystring';

/** Node's response with the framework's chainable methods. */
export interface Response extends ServerResponse {
  /** Sets the status code. */
  status(code: number): this;
  /** Sets a header. */
  set(name: string, value: string | number | string[]): this;
  /** Sends a value as JSON and ends the response. */
  json(data: unknown): this;
  /** Sends text, bytes, or anything else as JSON, and ends the response. */
  send(data: string | Buffer | object): this;
}

/** What middleware and routes know of a request. Reused for later requests. */
export interface Context {
  req: IncomingMessage;
  res: Response;
  method: string;
  /** With the query string. */
  url: string;
  /** Without the query string. */
  path: string;
  query: ParsedUrlQuery;
  /** Of the route that matched. */
  params: Record<string, string>;
  /** Parsed JSON, in routes only; `undefined` for everything else. */
  body: unknown;
  headers: IncomingHttpHeaders;
  id: string;
  ip: string;
  secure: boolean;
  /** Empty at the start of each request. */
  state: Record<string, unknown>;
}

/** Koa style: what comes after `await next()` runs on the way back. */
export type Middleware = (ctx: Context, next: () => Promise<void>) => void | Promise<void>;

/** Answers the requests of one route. */
export type RouteHandler = (ctx: Context) => void | Promise<void>;

export interface Options {
  /** Hands every middleware a context wrapped anew. */
  debug?: boolean;
  /** Key and certificate, as PEM, of an application that speaks HTTPS. */
  tls?: { key: string; cert: string };
}

/** The application. It emits `shutdown`, `closed`, and `error` for a handler that throws. */
export class Application extends EventEmitter {
  constructor(options?: Options);

  /** Run in this order, the router after the last one. */
  middleware: Middleware[];

  /** Adds a middleware. */
  use(middleware: Middleware): this;
  /** Adds a route. */
  get(path: string, handler: RouteHandler): this;
  /** Adds a route. */
  post(path: string, handler: RouteHandler): this;
  /** Adds a route. */
  put(path: string, handler: RouteHandler): this;
  /** Adds a route. */
  delete(path: string, handler: RouteHandler): this;
  /** Adds a route. */
  patch(path: string, handler: RouteHandler): this;

  /** Listens on port 3000 of 127.0.0.1 unless told otherwise. */
  listen(port?: number, callback?: () => void): Server;
  listen(port?: number, host?: string, callback?: () => void): Server;
  /** The server, which exists before it listens. */
  getServer(): Server;
  /** Tells everyone by `shutdown`, stops the server, and tells everyone by `closed`. */
  shutdown(): Promise<void>;

  /** Simple named events, apart from those of the application itself. */
  events: {
    emit(name: string, data?: unknown): Promise<void>;
    on(name: string, handler: (data: unknown) => void): () => void;
    once(name: string, handler?: (data: unknown) => void): Promise<unknown>;
    off(name: string): void;
  };
  /** Events as objects with a `type`. */
  eventSystem: {
    emit(event: { type: string }): Promise<void>;
    subscribe(type: string, handler: (event: { type: string }) => void): { unsubscribe(): void };
  };
}

/** Makes an application. */
export function createApp(options?: Options): Application;
