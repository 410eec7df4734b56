'use strict';

/**
 * Reads option `cluster`. Errors name the option and what is accepted, and never show a URL, a name or
 * a password.
 */

const { X509Certificate, createPrivateKey } = require('node:crypto');
const { isIP } = require('node:net');
const { rootCertificates } = require('node:tls');

const { optionTables } = require('../native.js');
const { describe } = require('../text.js');
const { certificatesOf, kindOf, textOf } = require('../tls/pem.js');

/** The options by name, with what is accepted. Made when a cluster is spoken of. */
let rows;
function rowsByName() {
  rows ??= new Map(optionTables().cluster.map((row) => [row.name, row]));
  return rows;
}

const ADAPTER = ['open', 'publish', 'subscribe', 'unsubscribe', 'close'];
const CREDENTIALS = ['username', 'password'];
const OF_TLS = ['ca', 'cert', 'key', 'serverName'];
const DEFAULT_PORT = 6379;
const OTHER_SCHEMES = [
  'http:',
  'https:',
  'ws:',
  'wss:',
  'tcp:',
  'unix:',
  'valkey:',
  'valkeys:',
  'nats:',
];
const PREFIX = /^[\w.-]{1,64}$/;
const HOST = /^(?:[a-z\d_](?:[a-z\d_-]*[a-z\d_])?\.)*[a-z\d_](?:[a-z\d_-]*[a-z\d_])?\.?$/i;

/**
 * @param options what was given
 * @param {string} where what errors call it: the class
 * @returns {{ adapter: object } | { redis: object, isSharded: boolean, oneChannel: boolean,
 *   publishBuffer: number }} an adapter, or what the native half takes
 */
function readCluster(options, where) {
  if (!isObject(options)) throw wrong(where, '', kindOf(options));
  if (ADAPTER.some((method) => typeof options[method] === 'function')) {
    const missing = ADAPTER.find((method) => typeof options[method] !== 'function');
    if (missing === undefined) return { adapter: options, ...BY_DEFAULT };
    throw new TypeError(
      `${where}: option "cluster" must have the methods ${ADAPTER.join(', ')} as an adapter, got none called ${missing}`,
    );
  }
  const known = [...rowsByName().keys()];
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    const names = known.map((name) => `"cluster.${name}"`).join(', ');
    throw new TypeError(
      `${where}: unknown option ${describe(`cluster.${unknown}`)}; accepted are ${names}`,
    );
  }
  // Each is read once, as a getter may tell something else the next time.
  const { url, prefix, username, password, tls, subscribe, publishBuffer, pingTimeoutMs } = options;
  const urls = Array.isArray(url) ? url : [url];
  if (urls.length === 0) throw wrong(where, 'url', 'an empty array');
  const brokers = urls.map((each) => readUrl(each, where));
  const [first] = brokers;
  if (brokers.some((broker) => broker.isEncrypted !== first.isEncrypted)) {
    throw wrong(where, 'url', 'some with TLS and some without');
  }
  if (brokers.length > 1 && brokers.some((broker) => broker.path !== undefined)) {
    throw wrong(where, 'url', 'a unix socket among several URLs');
  }
  if (prefix !== undefined && !(typeof prefix === 'string' && PREFIX.test(prefix))) {
    throw wrong(where, 'prefix', describe(prefix));
  }
  for (const [name, value] of Object.entries({ username, password })) {
    if (value !== undefined && typeof value !== 'string') throw wrong(where, name, kindOf(value));
  }
  if (username !== undefined && password === undefined) {
    throw wrong(where, 'username', 'a string without a password');
  }
  const login = password === undefined ? first : { username, password };
  const accepted = ['rooms', 'one-channel'];
  if (subscribe !== undefined && !accepted.includes(subscribe)) {
    throw wrong(where, 'subscribe', describe(subscribe));
  }
  return {
    redis: {
      addresses: brokers.map(({ host, port, path }) => ({ host, port, path })),
      isCluster: Array.isArray(url),
      tls: readTls(tls, first.isEncrypted, where),
      prefix: prefix ?? 'nextrush-ws',
      pingTimeoutMs: number(pingTimeoutMs, 'pingTimeoutMs', where),
      username: login.username,
      password: login.password,
    },
    isSharded: Array.isArray(url),
    oneChannel: subscribe === 'one-channel',
    publishBuffer: number(publishBuffer, 'publishBuffer', where),
  };
}

const BY_DEFAULT = {
  isSharded: false,
  oneChannel: false,
  get publishBuffer() {
    return Number(rowsByName().get('publishBuffer').default);
  },
};

function number(value, name, where) {
  const row = rowsByName().get(name);
  if (value === undefined) return Number(row.default);
  const [from, to] = row.range;
  if (typeof value !== 'number') throw wrong(where, name, describe(value));
  if (Number.isInteger(value) && value >= from && value <= to) return value;
  throw new RangeError(wrong(where, name, describe(value)).message);
}

function readUrl(text, where) {
  const bad = (got) => wrong(where, 'url', got);
  if (typeof text !== 'string') throw bad(kindOf(text));
  let url;
  try {
    url = new URL(text);
  } catch {
    throw bad('a string that is no URL');
  }
  const { protocol, hostname, port, pathname } = url;
  const isUnix = protocol === 'redis+unix:';
  if (!isUnix && protocol !== 'redis:' && protocol !== 'rediss:') {
    // Otherwise not with which: where the scheme was forgotten, it is a name or a password.
    throw bad(
      OTHER_SCHEMES.includes(protocol)
        ? `a URL that begins with '${protocol}'`
        : 'a URL that begins otherwise',
    );
  }
  const login = {
    username: decoded(url.username, bad) || undefined,
    password: decoded(url.password, bad) || undefined,
  };
  if (login.username !== undefined && login.password === undefined) {
    throw bad('a URL with a user but no password');
  }
  if (isUnix) {
    const path = decoded(pathname, bad);
    if (hostname !== '' || path.length < 2) throw bad('a URL without the path of a socket');
    if (process.platform === 'win32') throw bad('a unix socket, which Windows does not have');
    return { path, isEncrypted: false, ...login };
  }
  if (hostname === '') throw bad('a URL without a host');
  if (port === '0') throw bad('a URL with port 0');
  // Channels are the same in all databases: there is none to select.
  if (!/^\/?\d*$/.test(pathname) || url.search !== '' || url.hash !== '') {
    throw bad('a URL with more than a host and a port');
  }
  return {
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: port === '' ? DEFAULT_PORT : Number(port),
    isEncrypted: protocol === 'rediss:',
    ...login,
  };
}

function decoded(part, bad) {
  try {
    return decodeURIComponent(part);
  } catch {
    throw bad('a URL with a % that begins no character');
  }
}

function readTls(options, isEncrypted, where) {
  if (options === undefined && !isEncrypted) return undefined;
  if (options !== undefined && !isObject(options)) throw wrong(where, 'tls', kindOf(options));
  if (!isEncrypted) throw wrong(where, 'tls', "an object for a URL without 'rediss://'");
  if (process.platform === 'win32') {
    throw new Error(
      `${where}: option "cluster.url" begins with 'rediss://', and TLS with the broker is not there on Windows; put a proxy such as stunnel in between`,
    );
  }
  const unknown = Object.keys(options ?? {}).find((name) => !OF_TLS.includes(name));
  if (unknown !== undefined) throw wrong(where, 'tls', `an object with ${describe(unknown)}`);
  const { ca, cert, key, serverName } = options ?? {};
  const bad = (name, got) => wrong(where, 'tls', `${got} as "cluster.tls.${name}"`);
  if (serverName !== undefined && typeof serverName !== 'string') {
    throw bad('serverName', kindOf(serverName));
  }
  if (serverName !== undefined && !HOST.test(serverName) && isIP(serverName) === 0) {
    throw bad('serverName', 'a string that is no host name');
  }
  if (Array.isArray(ca) && ca.length === 0) throw bad('ca', 'an empty array');
  if ((cert === undefined) !== (key === undefined)) {
    throw bad(cert === undefined ? 'cert' : 'key', 'nothing');
  }
  return {
    authorities: ca === undefined ? roots() : chainOf(ca, (got) => bad('ca', got)),
    chain: cert === undefined ? [] : chainOf(cert, (got) => bad('cert', got)),
    key: key === undefined ? undefined : keyOf(key, (got) => bad('key', got)),
    serverName,
  };
}

function roots() {
  return rootCertificates.map((pem) => new X509Certificate(pem).raw);
}

function chainOf(value, bad) {
  const texts = (Array.isArray(value) ? value : [value]).map((each) => textOf(each, bad));
  return certificatesOf(texts.join('\n'), bad).map(({ raw }) => raw);
}

function keyOf(value, bad) {
  const pem = textOf(value, bad);
  try {
    return createPrivateKey(pem).export({ type: 'pkcs8', format: 'der' });
  } catch (error) {
    throw bad(`a key that cannot be read (${error.code ?? error.name})`);
  }
}

/** @returns {{ username: string | undefined, password: string }} */
function readCredentials(credentials, where) {
  if (!isObject(credentials)) {
    throw new TypeError(
      `${where}: credentials must be an object with password and perhaps username, got ${kindOf(credentials)}`,
    );
  }
  const unknown = Object.keys(credentials).find((name) => !CREDENTIALS.includes(name));
  if (unknown !== undefined) {
    throw new TypeError(
      `${where}: unknown name ${describe(unknown)}; accepted are "username" and "password"`,
    );
  }
  const { username, password } = credentials;
  for (const [name, value] of Object.entries({ username, password })) {
    if (typeof value === 'string' || (name === 'username' && value === undefined)) continue;
    throw new TypeError(`${where}: ${name} must be a string, got ${kindOf(value)}`);
  }
  return { username, password };
}

/** @param {string} option its name, or `''` for the options themselves */
function wrong(where, option, got) {
  const name = option === '' ? 'cluster' : `cluster.${option}`;
  const accepted =
    option === '' ? 'an object with url, or an adapter' : rowsByName().get(option).accepted;
  return new TypeError(`${where}: option "${name}" must be ${accepted}, got ${got}`);
}

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

module.exports = { readCluster, readCredentials };
