'use strict';

/** What a client is told that is not let in. `index.d.ts` documents it. */
class ConnectionRefused extends Error {
  name = 'ConnectionRefused';

  constructor(status, headers, body) {
    super(`the upgrade request was answered with ${status}${body && `: ${body}`}`);
    this.status = status;
    this.headers = headers;
    this.body = body;
  }
}

/** Of a response as it stood on the wire. */
function refusalOf(response) {
  if (response === '') return new ConnectionRefused(0, {}, 'the request was cut off');
  const [head, body = ''] = response.split(/\r\n\r\n(.*)/s);
  const [statusLine, ...lines] = head.split('\r\n');
  const headers = {};
  for (const line of lines) {
    const [name, value] = line.split(/:\s*(.*)/s);
    headers[name.toLowerCase()] = value;
  }
  const text = Buffer.from(body, 'latin1').toString();
  return new ConnectionRefused(Number(statusLine.split(' ')[1]), headers, text);
}

module.exports = { ConnectionRefused, refusalOf };
