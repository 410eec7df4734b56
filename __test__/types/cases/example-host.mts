// The host of the examples, beside NextRush itself: an application too, without a cast.
import {
  type HostApplication,
  WebSocketPlugin,
  type WSContext,
  withWebSocket,
} from 'nextrush-websocket';
import { createApp } from '../../../examples/host/index.js';

const app = createApp({ debug: true });
const application: HostApplication = app;
new WebSocketPlugin().install(app);

withWebSocket(app)
  .ws('/chat', (socket, req) => socket.broadcast('room', req.url ?? ''))
  .use(async (ctx, next) => {
    (ctx as WSContext).wsRooms.broadcast('room', ctx.path);
    await next();
  })
  .post('/orders', (ctx) => {
    ctx.res.status(201).json(ctx.body);
  })
  .listen(3000, () => {});

export { application };
