/** A host application with the plugin installed, listening on a free port, closed after the test. */
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import { createApp } from '../../examples/host/index.js';
import {
  WebSocketPlugin,
  type WebSocketPluginConstructorOptions,
  withWebSocket,
} from '../../index.js';
import { hostOptions, wsUrl } from './transport.js';

type App = ReturnType<typeof createApp>;

export interface Served {
  app: App;
  wsApp: ReturnType<typeof withWebSocket<App>>;
  plugin: WebSocketPlugin;
  server: Server;
  port: number;
  /** Where clients connect to. */
  url(path?: string): string;
  /** Closes connections and server; runs by itself after the test. */
  close(): Promise<void>;
}

export interface ServeOptions extends WebSocketPluginConstructorOptions {
  /** Runs before the plugin is installed, for middleware that stands before it. */
  before?: (app: App) => void;
  /** Options of the host application. */
  host?: Parameters<typeof createApp>[0];
}

/** The port of a server, once it listens. */
export async function portOf(
  server: Pick<Server, 'listening' | 'address' | 'once'>,
): Promise<number> {
  if (!server.listening) await once(server as Server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** Installs the plugin on a host application, lets `setup` register handlers, and listens. */
export async function serve(
  options: ServeOptions = {},
  setup: (served: Pick<Served, 'app' | 'wsApp' | 'plugin'>) => void = () => {},
): Promise<Served> {
  const { before, host, ...pluginOptions } = options;
  const app = createApp({ ...hostOptions, ...host });
  before?.(app);
  const plugin = new WebSocketPlugin(pluginOptions);
  plugin.install(app);
  const wsApp = withWebSocket(app);
  setup({ app, wsApp, plugin });
  const server = app.listen(0, '127.0.0.1');
  const port = await portOf(server);
  const close = async () => {
    await plugin.cleanup();
    server.closeAllConnections();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
    await app.eventSystem.shutdown();
  };
  onTestFinished(close);
  return {
    app,
    wsApp,
    plugin,
    server,
    port,
    url: (path) => wsUrl(port, path),
    close,
  };
}
