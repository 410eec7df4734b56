/** Other servers, and the ways to them. */

import type { WebSocketPlugin } from './plugin.js';

/** How servers find each other over Redis or Valkey, version 6 or later. */
export interface WSClusterOptions {
  /**
   * `redis://[username:password@]host[:port]`, `rediss://…` for TLS, or `redis+unix:///path/of.sock`.
   * An array names some nodes of a Redis Cluster, which tell of the others.
   */
  url: string | string[];

  /**
   * Stands before the names of all channels: servers with different prefixes do not hear each other.
   * 1 to 64 letters, digits, `.`, `_` and `-`.
   *
   * @default 'nextrush-ws'
   */
  prefix?: string | undefined;

  /**
   * Who logs in, in place of what the URL says. Needs a password.
   *
   * @default undefined
   */
  username?: string | undefined;

  /**
   * The password, in place of what the URL says. No error, line of the log or statistic shows it.
   *
   * @default undefined
   */
  password?: string | undefined;

  /**
   * What the broker's certificate has to be like, for `rediss://`.
   *
   * @default {}
   */
  tls?: WSClusterTlsOptions | undefined;

  /**
   * `'rooms'`: a server subscribes to the rooms that have members on it, and hears of no others.
   * `'one-channel'`: every server hears of every room, which costs less where there are very many
   * rooms that live for seconds. All servers of a cluster need the same.
   *
   * @default 'rooms'
   */
  subscribe?: 'rooms' | 'one-channel' | undefined;

  /**
   * Most bytes of broadcasts that wait for the broker; one broadcast may always wait, however long it
   * is. Beyond it the oldest are dropped, counted, and told of by `cluster:gap`.
   *
   * @default 16777216
   */
  publishBuffer?: number | undefined;

  /**
   * Longest silence of the broker after a ping, in milliseconds; then the connection is made anew. At
   * least 100.
   *
   * @default 10000
   */
  pingTimeoutMs?: number | undefined;
}

/** TLS with the broker, in PEM as `tls.connect` takes it. */
export interface WSClusterTlsOptions {
  /**
   * Who may have issued the broker's certificate.
   *
   * @default the certificates that Node trusts
   */
  ca?: string | Uint8Array | (string | Uint8Array)[] | undefined;
  /**
   * Certificate chain of this client, where the broker asks for one.
   *
   * @default undefined
   */
  cert?: string | Uint8Array | undefined;
  /**
   * The private key of `cert`.
   *
   * @default undefined
   */
  key?: string | Uint8Array | undefined;
  /**
   * The host name in the broker's certificate.
   *
   * @default the host of the URL
   */
  serverName?: string | undefined;
}

/** What {@link WebSocketPlugin.setClusterCredentials} takes. */
export interface WSClusterCredentials {
  /** Who logs in; absent for the default user. */
  username?: string | undefined;
  /** The password. */
  password: string;
}

/**
 * A way to other servers that an application brings along. It needs to carry messages, and may lose
 * some: what is lost is noticed and told of by `cluster:gap`. What one server publishes in a channel
 * has to arrive in order, and once at most.
 *
 * Channels are names of up to 200 letters, digits, `-` and `_`. Messages are bytes.
 */
export interface WSClusterAdapter {
  /**
   * Begins to connect, and returns. Called before everything else, and again when the plugin is installed
   * again after a `cleanup()`, which has closed it.
   *
   * @param events What the adapter has to tell.
   */
  open(events: WSClusterAdapterEvents): void | Promise<void>;
  /** Sends a message to all who have subscribed to a channel. Called only while it is up. */
  publish(channel: string, message: Uint8Array): void | Promise<void>;
  /**
   * Asks for the messages of a channel. Called only while it is up, and again for each channel after
   * it was down. Resolves once messages will come; one that rejects is asked again later.
   */
  subscribe(channel: string): void | Promise<void>;
  /** Asks for no more of them. */
  unsubscribe(channel: string): void | Promise<void>;
  /** Sends what it has been given, closes what it has opened, and tells nothing any more. */
  close(): void | Promise<void>;
}

/** What an adapter tells. */
export interface WSClusterAdapterEvents {
  /** Messages can be published, and channels subscribed to. */
  up(): void;
  /** They cannot any more, for a reason in a few words without secrets. */
  down(reason: string): void;
  /** A message has come in a channel. */
  message(channel: string, message: Uint8Array): void;
}

/** Messages that some servers have not got from another: the argument of `cluster:gap`. */
export interface WSClusterGap {
  /**
   * Whose messages they are: the `nodeId` of that server. Where it is this server's own, others have
   * not got them.
   */
  node: string;
  /** The room, or `null` for broadcasts to everyone, or where that is not known. */
  room: string | null;
  /** How many, or `null` where it is not known whether there were any. */
  missed: number | null;
}

/** The state of the cluster as this server sees it. */
export interface WSClusterStats {
  /**
   * `'connecting'` until it is up, or has failed to be, for the first time; `'up'` while messages come
   * and go, `'down'` while they do not, `'closed'` before the plugin is installed and after its clean-up.
   */
  state: 'connecting' | 'up' | 'down' | 'closed';
  /** The name of this plugin in the cluster, which no other has. */
  nodeId: string;
  /** Other servers that have been heard of lately. */
  nodes: number;
  /** Broadcasts handed to the broker. */
  published: number;
  /** Broadcasts of other servers that have come. */
  received: number;
  /** Those of them that local members were sent. */
  delivered: number;
  /** Own and others' broadcasts that were dropped: for a bound, or since the broker refused them. */
  dropped: number;
  /** Messages in a channel that were none of this package, or of a version that it does not know. */
  ignored: number;
  /** Broadcasts of other servers that are known to have been missed. */
  missed: number;
  /** `cluster:gap` events. */
  gaps: number;
  /** Channels subscribed to. */
  subscriptions: number;
  /** Channels that the broker refuses. */
  refused: number;
  /** Times that a lost connection has been made again. */
  reconnects: number;
  /** Bytes of the broadcasts published and received. */
  bytesPublished: number;
  bytesReceived: number;
  /** Bytes that wait for the broker, and for how long the oldest has, in milliseconds. */
  waitingBytes: number;
  oldestWaitingMs: number;
}
