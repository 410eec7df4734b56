'use strict';

/** Reads PEM. What is wrong with it, `fail` makes an error of: no value is shown, as it may be a secret. */

const { X509Certificate } = require('node:crypto');
const { types } = require('node:util');

const { describe } = require('../text.js');

const CERTIFICATE = /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[^-]+-----END [^-]+-----/g;

/** A PEM text, given as a string or as its bytes. */
function textOf(value, fail) {
  if (typeof value === 'string') return value;
  if (types.isUint8Array(value)) return Buffer.from(value).toString('latin1');
  throw fail(kindOf(value));
}

/** The certificates in a PEM text, of which there has to be one. */
function certificatesOf(pem, fail) {
  const blocks = pem.match(CERTIFICATE) ?? [];
  if (blocks.length === 0) throw fail('a text without a certificate');
  return blocks.map((block) => {
    try {
      return new X509Certificate(block);
    } catch (error) {
      throw fail(`a certificate that cannot be read (${error.code ?? error.name})`);
    }
  });
}

/** A value without what may be a secret: a key or a password may have got into the wrong place. */
function kindOf(value) {
  return typeof value === 'string' ? 'a string' : describe(value);
}

module.exports = { certificatesOf, kindOf, textOf };
