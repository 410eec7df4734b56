'use strict';

/**
 * Reads what clients are shown: PEM as `https.createServer` takes it. Errors name the option and what
 * is accepted, and never show a value that could be a secret.
 */

const { createPrivateKey } = require('node:crypto');
const { isIPv4 } = require('node:net');
const { rootCertificates } = require('node:tls');

const { optionTables } = require('../native.js');
const { describe } = require('../text.js');
const { certificatesOf, kindOf, textOf } = require('./pem.js');

/** The options by name, with what is accepted. Made when TLS is spoken of. */
let rows;
function rowsByName() {
  rows ??= new Map(optionTables().tls.map((row) => [row.name, row]));
  return rows;
}

/** The options of a host name in `sni`. */
const OF_HOST = ['cert', 'key', 'passphrase'];

const VERSIONS = { 'TLSv1.2': 12, 'TLSv1.3': 13 };

const HOST = /^(?:\*\.)?(?:[a-z\d_](?:[a-z\d_-]*[a-z\d_])?\.)*[a-z\d_](?:[a-z\d_-]*[a-z\d_])?$/i;

/**
 * @param options what was given
 * @param {string} where what errors call it: the class or method
 * @returns {{ native: object, node: object, hosts: [string, object][] }} what the native half takes,
 *   what `tls.createServer` takes, and what its `addContext` takes
 */
function readTls(options, where) {
  const read = reader(options, where, '', [...rowsByName().keys()]);
  const own = identity(read, where);
  const sni = read('sni', isObject) ?? {};
  const hosts = Object.keys(sni).map((host) => {
    if (!HOST.test(host) || isIPv4(host))
      throw wrong(where, 'sni', `the host name ${describe(host)}`);
    if (!isObject(sni[host])) throw wrong(where, 'sni', `${kindOf(sni[host])} for ${host}`);
    const ofHost = reader(sni[host], where, `sni[${JSON.stringify(host)}].`, OF_HOST);
    return { host, ...identity(ofHost, where) };
  });
  const requestCert = read('requestCert', isBoolean) ?? false;
  const rejectUnauthorized = read('rejectUnauthorized', isBoolean) ?? true;
  const authorities = read('ca');
  const given = authorities === undefined ? undefined : texts(authorities, where, 'ca');
  const ca = requestCert ? (given ?? [...rootCertificates]) : undefined;
  const roots = ca?.flatMap((pem) => chainOf(pem, where, 'ca'));
  const minVersion = read('minVersion', isVersion) ?? 'TLSv1.2';
  const maxVersion = read('maxVersion', isVersion) ?? 'TLSv1.3';
  if (VERSIONS[minVersion] > VERSIONS[maxVersion]) {
    throw wrong(where, 'minVersion', `'${minVersion}', which is above maxVersion`);
  }
  const ciphers = read('ciphers', isText)?.split(':').filter(Boolean) ?? [];
  const forAll = {
    ca,
    minVersion,
    maxVersion,
    ciphers: ciphers.length === 0 ? undefined : ciphers.join(':'),
  };
  return {
    native: {
      identities: [own, ...hosts].map(({ host, certificates }) => ({
        name: host === undefined ? 'tls' : `tls.sni[${JSON.stringify(host)}]`,
        host,
        certificates: certificates.map(({ chain, key }) => ({
          chain: chain.map(({ raw }) => raw),
          key: key.export({ type: 'pkcs8', format: 'der' }),
        })),
      })),
      authorities: roots?.map(({ raw }) => raw),
      required: rejectUnauthorized,
      minVersion: VERSIONS[minVersion],
      maxVersion: VERSIONS[maxVersion],
      ciphers,
    },
    node: {
      ...nodeIdentity(own),
      ...forAll,
      ALPNProtocols: ['http/1.1'],
      requestCert,
      rejectUnauthorized,
    },
    // Node takes none of it from the default for a host name.
    hosts: hosts.map(({ host, ...rest }) => [host, { ...nodeIdentity(rest), ...forAll }]),
  };
}

/**
 * Reads each option once, as a getter may tell something else the next time. `undefined` is the same
 * as none.
 */
function reader(options, where, prefix, known) {
  if (!isObject(options)) throw wrong(where, '', kindOf(options));
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    const names = known.map((name) => `"tls.${prefix}${name}"`).join(', ');
    const name = describe(`tls.${prefix}${unknown}`);
    throw new TypeError(`${where}: unknown option ${name}; accepted are ${names}`);
  }
  const read = (name, accepts = () => true) => {
    const value = options[name];
    if (value === undefined || accepts(value)) return value;
    throw wrong(where, name, isSecret(name) ? kindOf(value) : shown(value), prefix);
  };
  read.prefix = prefix;
  return read;
}

/** Certificate chains, each with its key. */
function identity(read, where) {
  const fail = (option, got) => wrong(where, option, got, read.prefix);
  const cert = read('cert');
  const key = read('key');
  const passphrase = read('passphrase', isText);
  if (cert === undefined) throw fail('cert', 'undefined');
  if (key === undefined) throw fail('key', 'undefined');
  const chains = texts(cert, where, 'cert', read.prefix).map((pem) =>
    chainOf(pem, where, 'cert', read.prefix),
  );
  const keys = texts(key, where, 'key', read.prefix).map((pem) => {
    try {
      return createPrivateKey({ key: pem, passphrase });
    } catch (error) {
      throw fail('key', `one that cannot be read (${error.code ?? error.name})`);
    }
  });
  const certificates = chains.map((chain) => {
    const its = keys.find((each) => chain[0].checkPrivateKey(each));
    if (its === undefined) throw fail('key', 'none that belongs to the certificate');
    return { chain, key: its };
  });
  return { certificates };
}

function nodeIdentity({ certificates }) {
  return {
    cert: certificates.map(({ chain }) => chain.map(String).join('')),
    key: certificates.map(({ key }) => key.export({ type: 'pkcs8', format: 'pem' })),
  };
}

/** One PEM text or several, each a string or its bytes. */
function texts(value, where, option, prefix = '') {
  const all = Array.isArray(value) ? value : [value];
  if (all.length === 0) throw wrong(where, option, 'an empty array', prefix);
  return all.map((each) => textOf(each, (got) => wrong(where, option, got, prefix)));
}

/** The certificates in a PEM text. */
function chainOf(pem, where, option, prefix = '') {
  return certificatesOf(pem, (got) => wrong(where, option, got, prefix));
}

/** @param {string} option its name, or `''` for the options themselves */
function wrong(where, option, got, prefix = '') {
  const name = option === '' ? 'tls' : `tls.${prefix}${option}`;
  const accepted = option === '' ? 'an object' : rowsByName().get(option).accepted;
  return new TypeError(`${where}: option "${name}" must be ${accepted}, got ${got}`);
}

/** A value that is no secret, if it does not look like one. */
function shown(value) {
  return typeof value === 'string' && value.length > LONGEST_SHOWN ? 'a string' : describe(value);
}

/** What can be mistaken for another value here is no longer than this: host names, versions. */
const LONGEST_SHOWN = 16;

const isSecret = (option) => option === 'key' || option === 'passphrase';
const isBoolean = (value) => typeof value === 'boolean';
const isText = (value) => typeof value === 'string';
const isVersion = (value) => typeof value === 'string' && Object.hasOwn(VERSIONS, value);
const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

module.exports = { readTls };
