/** The plugin of the fragments that do not install one themselves. */

import { WebSocketPlugin, withWebSocket } from 'nextrush-websocket';
import { app } from './bare.js';

export const wsPlugin = new WebSocketPlugin({ path: '/ws' });
wsPlugin.install(app);

export const wsApp = withWebSocket(app);
