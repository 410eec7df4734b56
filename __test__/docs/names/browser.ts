/** What a page has: the client, here that of `ws`, which has the same methods and events. */

import WsWebSocket from 'ws';

export class WebSocket extends WsWebSocket {
  constructor(url: string, protocols?: string | string[]) {
    super(url.replace('localhost:3000', `127.0.0.1:${process.env.DOCS_PORT}`), protocols);
  }
}
