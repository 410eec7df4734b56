/** `undefined` is what every option may be, also under `exactOptionalPropertyTypes`. */

import type {
  PerMessageDeflateOptions,
  WebSocketAttachOptions,
  WebSocketCleanupOptions,
  WebSocketPluginOptions,
  WebSocketTlsIdentity,
  WebSocketTlsOptions,
  WSClusterCredentials,
  WSClusterOptions,
  WSClusterTlsOptions,
  WSRouteOptions,
  WSSendOptions,
} from 'nextrush-websocket';
import type { ClusterContractOptions } from 'nextrush-websocket/cluster-contract';
import type { NatsAdapterOptions } from 'nextrush-websocket/cluster-nats';
import type {
  ClusterWorkersRelayOptions,
  WorkersAdapterOptions,
} from 'nextrush-websocket/cluster-workers';
import type { Same } from '../fixtures/same.js';

/** Names of the options that may be left out, and may not be `undefined`. */
type Refusing<Options> = {
  [Name in keyof Options]-?: Record<never, never> extends Pick<Options, Name>
    ? Record<Name, undefined> extends Pick<Options, Name>
      ? never
      : Name
    : never;
}[keyof Options];

const refusing: Same<
  | Refusing<WebSocketPluginOptions>
  | Refusing<PerMessageDeflateOptions>
  | Refusing<WebSocketAttachOptions>
  | Refusing<WebSocketTlsIdentity>
  | Refusing<WebSocketTlsOptions>
  | Refusing<WSClusterCredentials>
  | Refusing<WSClusterOptions>
  | Refusing<WSClusterTlsOptions>
  | Refusing<WSRouteOptions>
  | Refusing<WebSocketCleanupOptions>
  | Refusing<WSSendOptions>
  | Refusing<ClusterContractOptions>
  | Refusing<NatsAdapterOptions>
  | Refusing<WorkersAdapterOptions>
  | Refusing<ClusterWorkersRelayOptions>,
  never
> = true;

export { refusing };
