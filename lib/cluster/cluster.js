'use strict';

const { inNoContext } = require('../async-context.js');
const binding = require('../native.js');
const { inThisRealm } = require('../errors.js');
const { printable } = require('../text.js');
const { AdapterDriver } = require('./adapter-driver.js');

/** Longest reason that is told, in characters. */
const MAX_REASON = 300;

/**
 * The other servers, from an installation of the plugin to its clean-up. What they say does not pass
 * here: the native half hands it to members by itself. What there is to tell comes as events.
 */
class Cluster {
  #node;
  #host;
  #driver;
  /** Resolves once the driver has ended. */
  #closed;
  #onClosed;

  /**
   * @param options as `readCluster` returns them
   * @param {string} id the name of this server in the cluster
   * @param host told of events and errors: `onUp`, `onDown`, `onGap`, `onError`
   */
  constructor(options, id, host) {
    this.#host = host;
    this.#closed = new Promise((resolve) => {
      this.#onClosed = resolve;
    });
    const { isSharded, oneChannel, publishBuffer } = options;
    this.#node = inThisRealm(() =>
      inNoContext(
        () =>
          new binding.ClusterNode(id, isSharded, oneChannel, publishBuffer, () => this.#listen()),
      ),
    );
    if (options.adapter !== undefined) {
      this.#driver = new AdapterDriver(this.#node, options.adapter, (error) => host.onError(error));
    }
  }

  /** For the native plugin. */
  get node() {
    return this.#node;
  }

  /** Begins to connect. */
  start(options) {
    if (this.#driver !== undefined) return this.#driver.start();
    inThisRealm(() => this.#node.startRedis(options.redis));
  }

  /** What has been published in this turn leaves. */
  flush() {
    if (this.#driver === undefined) this.#node.flush();
    else this.#driver.publish();
  }

  /** Room names may have been joined: a driver of the native half hears of that by itself. */
  roomsChanged() {
    this.#driver?.subscribe();
  }

  setCredentials({ username, password }) {
    this.#node.setCredentials(username, password);
  }

  stats() {
    return { ...this.#node.stats() };
  }

  /** Lets out what has been published, for at most `limitMs`, and ends. */
  async close(limitMs) {
    if (this.#driver === undefined) {
      this.#node.stopRedis(limitMs);
      await this.#closed;
    } else {
      await this.#driver.close(limitMs);
    }
  }

  #listen() {
    inNoContext(() => {
      for (const { kind, reason, node, room, missed } of this.#node.events()) {
        if (kind === 'up') this.#host.onUp();
        else if (kind === 'down') this.#host.onDown(printable(reason, MAX_REASON));
        else if (kind === 'gap') {
          this.#host.onGap({ node, room: room ?? null, missed: missed ?? null });
        } else if (kind === 'refused')
          this.#host.onError(new Error(`cluster: ${printable(reason, MAX_REASON)}`));
        else this.#onClosed();
      }
    });
  }
}

module.exports = { Cluster };
