'use strict';

/**
 * What tracers can subscribe to by Node's `diagnostics_channel`, whoever has made the plugin. Nothing is
 * made or called for a channel without subscribers.
 *
 * There is none for messages: asking for its subscribers would be paid by every message.
 */

const { channel } = require('node:diagnostics_channel');

const { callListener, inNoContext } = require('./async-context.js');

const connections = channel('nextrush-websocket:connection');
const closes = channel('nextrush-websocket:close');
const rejections = channel('nextrush-websocket:rejected');
const errors = channel('nextrush-websocket:error');

/** A connection has been accepted. Published in the async context of its request. */
function publishConnection(plugin, connection, request) {
  if (connections.hasSubscribers) connections.publish({ plugin, connection, request });
}

/** A connection has ended. */
function publishClose(plugin, connection, code, reason) {
  if (closes.hasSubscribers) publishOutside(closes, { plugin, connection, code, reason });
}

/** Whether somebody wants to hear of refused requests. */
function wantsRejections() {
  return rejections.hasSubscribers;
}

/** A request has been refused. Published in the async context of that request. */
function publishRejection(plugin, rejection) {
  if (rejections.hasSubscribers) rejections.publish({ plugin, ...rejection });
}

/** What the event `error` tells, whether somebody listens to that or not. */
function publishError(plugin, error, connection) {
  if (errors.hasSubscribers) publishOutside(errors, { plugin, error, connection });
}

/** In no async context: what subscribers enter must not reach whoever is served next. */
function publishOutside(to, message) {
  inNoContext(() => {
    callListener(() => to.publish(message));
  });
}

module.exports = {
  publishClose,
  publishConnection,
  publishError,
  publishRejection,
  wantsRejections,
};
