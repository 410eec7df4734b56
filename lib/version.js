'use strict';

/** Of this package. Not read from `package.json`: a bundle may have none, or that of the application. */
module.exports = { version: '2.0.0' };
