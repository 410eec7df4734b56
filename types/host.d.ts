/** The host application, as far as the plugin meets it: for hosts that are not NextRush itself. */

import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { ParsedUrlQuery } from 'node:querystring';
import type { WSContext } from './application.js';

/**
 * The request of a {@link Context}: Node's own, with what NextRush adds to it. A smaller host may
 * leave the additions out.
 */
export interface ContextRequest extends IncomingMessage {
  /** Parsed body. */
  body?: unknown;
  /** Parameters of the matched route. */
  params?: Record<string, string>;
  /** Parsed query string. */
  query?: ParsedUrlQuery;
  /** Path without the query string. */
  path?: string;
  /** Address of the client. */
  ip?: string;
  /** `http` or `https`. */
  protocol?: string;
  /** Whether the request came over TLS. */
  secure?: boolean;
  /** URL before any rewriting. */
  originalUrl?: string;
}

/** Where NextRush looks for a file that it sends, and whether it sends an `ETag` with it. */
export interface SendFileOptions {
  root?: string;
  etag?: boolean;
}

/**
 * The response of a {@link Context}: Node's own, with what NextRush adds to it. Every host has the
 * first four; NextRush has all of them.
 */
export interface ContextResponse extends ServerResponse {
  /** Sets the status code. */
  status(code: number): ContextResponse;
  /** Sends a value as JSON and ends the response. */
  json(data: unknown): ContextResponse;
  /** Sends text, bytes, or an object as JSON, and ends the response. */
  send(data: string | Buffer | object): unknown;
  /** Sets a header. */
  set(name: string, value: string | number | string[]): ContextResponse;

  /** Sends HTML. */
  html?(data: string): ContextResponse;
  /** Sends plain text. */
  text?(data: string): ContextResponse;
  /** Sends comma-separated values. */
  csv?(data: string): ContextResponse;
  /** Sends XML. */
  xml?(data: string): ContextResponse;
  /** Pipes a stream into the response. */
  stream?(stream: NodeJS.ReadableStream, contentType?: string): void;
  /** Renders a template. */
  render?(
    templateOrName: string,
    data?: Record<string, unknown>,
    options?: { layout?: string },
  ): Promise<void>;
  /** Sends a file. */
  file?(path: string, options?: SendFileOptions): ContextResponse;
  /** Sends a file. */
  sendFile?(path: string, options?: SendFileOptions): ContextResponse;
  /** Sends a file to be saved by the client. */
  download?(path: string, filename?: string): ContextResponse;
  /** Redirects, with 302 by default. */
  redirect?(url: string, status?: number): ContextResponse;
  /** Redirects with 301. */
  redirectPermanent?(url: string): ContextResponse;
  /** Redirects with 307. */
  redirectTemporary?(url: string): ContextResponse;
  /** Sets a header. */
  header?(field: string, value: string): ContextResponse;
  /** Reads a header that has been set. */
  get?(name: string): string | number | string[] | undefined;
  /** Removes a header that has been set. */
  remove?(name: string): ContextResponse;
  /** Removes a header that has been set. NextRush returns the response, Node itself nothing. */
  // biome-ignore lint/suspicious/noConfusingVoidType: one method with two hosts
  removeHeader(field: string): ContextResponse | void;
  /** Sets `Content-Type`. */
  type?(type: string): ContextResponse;
  /** Sets `Content-Length`, in bytes. */
  length?(length: number): ContextResponse;
  /** Sets `ETag`. */
  etag?(etag: string): ContextResponse;
  /** Sets `Last-Modified`. */
  lastModified?(date: Date): ContextResponse;
  /** Sets a cookie. */
  cookie?(name: string, value: string, options?: object): ContextResponse;
  /** Expires a cookie. */
  clearCookie?(name: string, options?: object): ContextResponse;
  /** Allows caching, in seconds. */
  cache?(seconds: number): ContextResponse;
  /** Forbids caching. */
  noCache?(): ContextResponse;
  /** Sets CORS headers. */
  cors?(origin?: string): ContextResponse;
  /** Sets security headers. */
  security?(): ContextResponse;
  /** Asks for compression. */
  compress?(): ContextResponse;
  /** Sends a success envelope as JSON. */
  success?(data: unknown, message?: string): void;
  /** Sends an error envelope as JSON. */
  error?(message: string, code?: number, details?: unknown): void;
  /** Sends one page of a list as JSON. */
  paginate?(data: unknown[], page: number, limit: number, total: number): void;
  /** Content type of a file extension. */
  getContentTypeFromExtension?(ext: string): string;
  /** Content type of a file. */
  getSmartContentType?(filePath: string): string;
  /** `ETag` of a file's status. */
  generateETag?(stats: unknown): string;
  /** Turns rows into comma-separated values. */
  convertToCSV?(data: unknown[]): string;
  /** Adds a timing header. */
  time?(label?: string): ContextResponse;
  /** Value at a dotted path. */
  getNestedValue?(obj: unknown, path: string): unknown;
  /** Truthiness as templates see it. */
  isTruthy?(value: unknown): boolean;
}

/**
 * The context of one HTTP request, as the plugin meets it. Required is what the plugin relies on;
 * optional what NextRush has beyond that, listed so that its own `Context` can be cast to
 * {@link WSContext} (TypeScript admits `as` only where one side has all the other's members).
 */
export interface Context {
  /** The request. */
  req: ContextRequest;
  /** The response. */
  res: ContextResponse;
  /** Request method, in upper case. */
  method: string;
  /** Request URL with its query string. */
  url: string;
  /** Path without the query string. */
  path: string;
  /** Parsed query string. */
  query: ParsedUrlQuery;
  /** Parameters of the matched route. */
  params: Record<string, string>;
  /** Parsed body; whatever the body parser made of it. */
  body: unknown;
  /** Request headers, in lower case. */
  headers: IncomingHttpHeaders;
  /** Identifies the request in logs. */
  id: string | undefined;
  /** Address of the client. */
  ip: string;
  /** Whether the request came over TLS. */
  secure: boolean;
  /** What middleware passes on to later middleware. */
  state: Record<string, unknown>;

  /** Identifies the request in logs, set by NextRush's request-id middleware. */
  requestId?: string;
  /** Logger of this request. */
  logger?: {
    log: (...args: unknown[]) => void;
    error: (...args: unknown[]) => void;
    warn: (...args: unknown[]) => void;
    info: (...args: unknown[]) => void;
  };
  /** When the request began, in milliseconds since the epoch. */
  startTime?: number;
  /** `http` or `https`. */
  protocol?: string;
  /** Host without the port. */
  hostname?: string;
  /** Host with the port. */
  host?: string;
  /** Protocol and host. */
  origin?: string;
  /** The whole URL. */
  href?: string;
  /** Query string with its question mark. */
  search?: string;
  /** Parsed query string. */
  searchParams?: URLSearchParams;
  /** Status code of the response. */
  status?: number;
  /** Headers of the response. */
  responseHeaders?: Record<string, string | number | string[]>;
  /** Throws an HTTP error. */
  throw?(status: number, message?: string): never;
  /** Throws an HTTP error unless the condition holds. */
  assert?(condition: unknown, status: number, message?: string): asserts condition;
  /** Whether the client's copy is up to date. */
  fresh?(): boolean;
  /** Whether the client's copy is out of date. */
  stale?(): boolean;
  /** Whether the method is idempotent. */
  idempotent?(): boolean;
  /** Whether the response may be cached. */
  cacheable?(): boolean;
  /** Sets a header of the response. */
  set?(name: string, value: string | number | string[]): void;
  /** Sends a file. */
  sendFile?(path: string, options?: SendFileOptions): void;
  /** Renders a template. */
  render?(
    templateOrName: string,
    data?: Record<string, unknown>,
    options?: { layout?: string },
  ): Promise<void>;
  /** Sends a value as JSON. */
  json?(data: unknown): void;
  /** Sends text, bytes, or an object as JSON. */
  send?(data: string | Buffer | object): void;
  /** Redirects, with 302 by default. */
  redirect?(url: string, statusCode?: number): void;
  /** Sets a cookie. */
  cookie?(name: string, value: string, options?: object): ContextResponse;
}

/** Koa-style HTTP middleware: what comes after `await next()` runs on the way back. */
export type HttpMiddleware = (ctx: Context, next: () => Promise<void>) => void | Promise<void>;

/** Handles the requests of one HTTP route. */
export type HttpHandler = (ctx: Context) => void | Promise<void>;

/**
 * The least that the plugin needs of an application: `use`, for its own HTTP middleware. The
 * `http.Server` is taken from `getServer()` or `server`, or from `listen()` when that is called.
 */
export interface HostApplication {
  /** Adds an HTTP middleware. */
  use(middleware: never): unknown;
}

/**
 * A NextRush v2 application, structurally: the framework's own class and its own `Application`
 * interface both fit without a cast.
 */
export interface Application extends HostApplication {
  /** Adds an HTTP middleware; they run in the order of `use`. */
  use(middleware: HttpMiddleware): Application;
  /** Adds a route for GET. */
  get(path: string, handler: HttpHandler): Application;
  /** Adds a route for POST. */
  post(path: string, handler: HttpHandler): Application;
  /** Adds a route for PUT. */
  put(path: string, handler: HttpHandler): Application;
  /** Adds a route for DELETE. */
  delete(path: string, handler: HttpHandler): Application;
  /** Adds a route for PATCH. */
  patch(path: string, handler: HttpHandler): Application;
  /** Starts to listen and returns the `http.Server`. */
  listen(port?: number, host?: string | (() => void), callback?: () => void): unknown;
  /** The `http.Server`, which exists before `listen`. */
  getServer(): unknown;
  /** Stops to listen. Open WebSocket connections are closed with code 1001 first. */
  shutdown(): Promise<void>;
}
