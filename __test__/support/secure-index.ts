/** What the package exports, with plugins as `secure.cjs` has them. */
import { createRequire } from 'node:module';

export const { WebSocketPlugin, withWebSocket, hasWebSocketSupport } = createRequire(
  import.meta.url,
)('../../index.js');
