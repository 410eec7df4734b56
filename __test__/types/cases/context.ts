import type {
  Application,
  Context,
  WebSocketApplication,
  WSConnection,
  WSContext,
  WSRoomManager,
  WSSocket,
} from '../../../index.js';
import type * as framework from '../fixtures/nextrush-shape.js';
import type { Same } from '../fixtures/same.js';

declare const app: Application;
declare const frameworkApp: framework.Application;

const added: Same<
  Pick<WSContext, 'isWebSocket' | 'ws' | 'wsRooms'>,
  { isWebSocket: boolean; ws?: WSSocket; wsRooms: WSRoomManager }
> = true;
const documented: { isWebSocket: boolean; ws?: WSConnection; wsRooms: WSRoomManager } =
  {} as WSContext;
const extended: Context = {} as WSContext;

// A cast from our own context, and from the framework's, which has none of the three.
app.use(async (ctx, next) => {
  const { isWebSocket, ws, wsRooms } = ctx as WSContext;
  if (isWebSocket) ws?.send(ctx.path);
  wsRooms.broadcast('room', 'text');
  await next();
});
frameworkApp.use(async (ctx, next) => {
  const wsCtx = ctx as WSContext;
  if (wsCtx.isWebSocket) wsCtx.wsRooms.broadcast('room', ctx.href);
  await next();
});
app.use(async (ctx) => {
  // @ts-expect-error not without the cast
  ctx.wsRooms.broadcast('room', 'text');
});
app.use(async (ctx) => {
  // @ts-expect-error there is none before the upgrade
  (ctx as WSContext).ws.send('text');
});

// The framework's context is one of ours, so functions written for ours take it.
const ours: Context = {} as framework.Context;

// What the reference does with a context.
app.post('/broadcast', async (ctx) => {
  const { message, room } = ctx.body as { message: string; room?: string };
  (app as WebSocketApplication).wsBroadcast(message, room);
  ctx.res.json({ success: true });
});
app.get('/users/:id', (ctx) => {
  ctx.res
    .set('cache-control', 'no-store')
    .status(200)
    .send(ctx.params.id ?? '');
});
app.get('/', (ctx) => {
  // @ts-expect-error a body is not known before it is checked
  ctx.body.message;
});

export { added, documented, extended, ours };
