'use strict';

const BODY =
  'This path is for WebSocket connections, and the request asks for none (Upgrade: websocket). A proxy in between may have left that header out.\n';

const HEADERS = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Content-Type': 'text/plain; charset=utf-8',
  'Content-Length': Buffer.byteLength(BODY),
};

/**
 * Has a 404, should the application come to that, be a 426 (RFC 9110 §15.5.22), which says more to
 * whoever opens a WebSocket path in a browser or has a proxy that does not pass `Upgrade` on.
 */
function suggestUpgrade(res) {
  const { writeHead, write, end } = res;
  let replaced = false;
  res.writeHead = function (status, ...rest) {
    if (status !== 404 || replaced) return writeHead.call(this, status, ...rest);
    replaced = true;
    for (const name of this.getHeaderNames()) {
      if (/^(content-|etag$|transfer-encoding$|last-modified$)/.test(name)) this.removeHeader(name);
    }
    return writeHead.call(this, 426, HEADERS);
  };
  res.write = function (...args) {
    if (!this.headersSent && this.statusCode === 404) this.writeHead(404);
    if (!replaced) return write.apply(this, args);
    callBack(args);
    return true;
  };
  res.end = function (...args) {
    if (!this.headersSent && this.statusCode === 404) this.writeHead(404);
    if (!replaced) return end.apply(this, args);
    const callback = args.findLast((argument) => typeof argument === 'function');
    return end.call(this, BODY, callback);
  };
}

function callBack(args) {
  const callback = args.findLast((argument) => typeof argument === 'function');
  if (callback !== undefined) process.nextTick(callback);
}

module.exports = { suggestUpgrade };
