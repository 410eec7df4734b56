/**
 * Loaded before a test where everything goes over TLS that the engine speaks, in its own process and in
 * those of its scripts: a plugin has a certificate there, unless it has been told otherwise.
 */
'use strict';

const addon = require('../../index.js');

const tls = JSON.parse(process.env.TEST_CERTIFICATE);
const Plain = addon.WebSocketPlugin;

addon.WebSocketPlugin = class WebSocketPlugin extends Plain {
  constructor(options) {
    super({ tls, ...options });
  }
};
