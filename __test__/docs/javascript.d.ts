/**
 * What JavaScript may do and TypeScript has to be told of: the fields that the plugin puts on the
 * context of a request, and what an application attaches to a connection.
 */

import type { WSRoomManager, WSSocket } from 'nextrush-websocket';

declare module '../../examples/host/index.js' {
  interface Context {
    isWebSocket: boolean;
    ws: WSSocket;
    wsRooms: WSRoomManager;
  }
}

declare module 'nextrush-websocket' {
  interface WSConnection {
    name: string;
    user: { id: string; name: string };
  }
}
