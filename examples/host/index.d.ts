import { EventEmitter } from 'node:events';
import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from 'node:http';
import type { ParsedUrlQuery } from 'node:querystring';

/** Node's response with the framework's chainable methods. */
export interface Response extends ServerResponse {
  /** Sets the status code. */
  status(code: number): this;
  /** Sets a header. */
  set(name: string, value: string | number | string[]): this;
  /**
   * Sends a value as JSON and ends the response; does nothing once it has begun. Declared as in
   * NextRush, and as there nothing is returned.
   */
  json(data: unknown): this;
  /** The same for text, bytes, or anything else as JSON. Text gets no `Content-Type`. */
  send(data: string | Buffer | object): void;
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
  /** Of the route that matched, percent-encoded as they came. */
  params: Record<string, string>;
  /** `undefined` unless `app.use(app.json())` has parsed it. */
  body: unknown;
  headers: IncomingHttpHeaders;
  id: string;
  /** What `X-Forwarded-For` says, whoever has set it; otherwise the address of the peer. */
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

/** The application. It emits `shutdown` and `closed`. */
export class Application extends EventEmitter {
  constructor(options?: Options);

  /** Run in this order. The router runs when all of them have returned. */
  middleware: Middleware[];

  /** Adds a middleware. What is not a function is ignored. */
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

  /** Makes a middleware that parses bodies by their `Content-Type`, up to 10 MiB. */
  json(): Middleware;
  /** The same. */
  urlencoded(): Middleware;
  /** The same. */
  text(): Middleware;
  /** Makes a middleware that answers errors with the status that they carry, not always with 500. */
  exceptionFilter(): Middleware;

  /** Listens on port 3000 of 127.0.0.1 unless told otherwise. */
  listen(port?: number, callback?: () => void): Server;
  listen(port?: number, host?: string, callback?: () => void): Server;
  /** The server, which exists before it listens. */
  getServer(): Server;
  /**
   * Tells everyone by `shutdown`, stops the server, and tells everyone by `closed`. The process does
   * not end by that: a timer of three seconds is left, and the event system.
   */
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
    /** Ends the interval that every application starts, and that keeps the process alive. */
    shutdown(): Promise<void>;
  };
}

/** Makes an application. */
export function createApp(options?: Options): Application;
