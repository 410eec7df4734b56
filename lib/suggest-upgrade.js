'use strict';

const { takeBackHead } = require('./node-internals.js');

const BODY =
  'This path is for WebSocket connections, and the request does not ask for one by "Connection: Upgrade" and "Upgrade: websocket". A proxy in between may have left these headers out.\n';

const HEADERS = {
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Content-Type': 'text/plain; charset=utf-8',
  'Content-Length': Buffer.byteLength(BODY),
};

/** Headers that describe the body that is left out, or say how long it may be kept. */
const OF_THE_BODY =
  /^(content-|transfer-encoding$|trailer$|etag$|last-modified$|cache-control$|expires$)/;

/** What frameworks answer where they have no route: the text alone, or as an error in JSON. */
const NOT_FOUND = /^(Not Found|\{"error":"Not Found"[^{}]*\})\s*$/;

/**
 * Has the answer of a framework that has no route, which is a 404, be a 426 (RFC 9110 §15.5.22): that
 * says more to whoever opens a WebSocket path in a browser, or has a proxy that does not pass
 * `Upgrade` on. A 404 of the application's own stays what it is.
 *
 * @param {import('node:http').ServerResponse} res
 * @param {() => boolean} hasRoute whether the application has a route that may have answered
 */
function suggestUpgrade(res, hasRoute) {
  // HTTP/2 knows no `Upgrade`.
  if (res.req?.httpVersionMajor !== 1) return;
  const { end } = res;
  res.end = function (...args) {
    res.end = end;
    const isNotFound = this.statusCode === 404 && NOT_FOUND.test(textOf(args[0]));
    // Once the head has left, there is nothing to be changed.
    if (!isNotFound || hasRoute() || !takeBackHead(this)) return end.apply(this, args);
    for (const name of this.getHeaderNames()) if (OF_THE_BODY.test(name)) this.removeHeader(name);
    const goesOn = this.shouldKeepAlive && !/close/i.test(this.getHeader('connection'));
    const connection = goesOn ? 'Upgrade' : 'close, Upgrade';
    this.writeHead(426, 'Upgrade Required', { ...HEADERS, Connection: connection });
    return end.call(
      this,
      BODY,
      args.findLast((argument) => typeof argument === 'function'),
    );
  };
}

function textOf(chunk) {
  return typeof chunk === 'string' || Buffer.isBuffer(chunk) ? String(chunk) : '';
}

module.exports = { suggestUpgrade };
