/** How `verifyClient` refuses a client in words of its own. */

import type { IncomingMessage } from 'node:http';
import type { WebSocketPluginOptions } from './options.js';

/** The value of a header, or the values of several lines of it. */
export type WSHeaderValue = string | number | readonly string[] | undefined;

/**
 * What {@link WebSocketPluginOptions.verifyClient} refuses a client with. A `Response` that the
 * application has made is one.
 *
 * What cannot be sent is left out, and reported by the plugin's `error` event: a name or a value with
 * characters that have no place in a header, more than 64 lines or 8 KiB of headers, a body of more than
 * 64 KiB, or one of another type. The client is refused all the same. Headers that describe the
 * connection are ours: `Connection`, `Content-Length`, `Transfer-Encoding`, `Upgrade`, `Sec-WebSocket-*`
 * and the like.
 */
export interface WSRefusal {
  /** The HTTP status, from 200 to 599. */
  status: number;

  /**
   * Header fields: an object, a `Headers`, or names with values. A 401 has a challenge anyway, which
   * `WWW-Authenticate` here replaces. Without a body of its own, what describes one is left out.
   *
   * @default {}
   */
  headers?: Record<string, WSHeaderValue> | Iterable<readonly [string, WSHeaderValue]> | undefined;

  /**
   * The body: a text, bytes, an object that is sent as JSON, or the stream of a `Response`.
   *
   * @default a sentence that says why
   */
  body?: string | object | null | undefined;
}

/**
 * Decides about a client as {@link WebSocketPluginOptions.verifyClient} does, and may refuse it in words
 * of its own.
 */
export type WSVerifyClient = (
  req: IncomingMessage,
) => boolean | WSRefusal | Promise<boolean | WSRefusal>;
