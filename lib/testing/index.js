'use strict';

const { connect } = require('./client.js');
const { TestWebSocketPlugin } = require('./plugin.js');
const { ConnectionRefused } = require('./refused.js');

module.exports = { ConnectionRefused, connect, TestWebSocketPlugin };
