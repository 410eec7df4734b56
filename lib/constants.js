'use strict';

/**
 * What both halves of the package have to agree on, as the native half has it. It is read once, so
 * that using it costs what any constant costs; `src/binding/constants.rs` says what each of them is.
 */
module.exports = require('./native.js').constants();
