/** Certificates for servers and clients of tests and soaks, made anew by each process: nothing secret is stored. */
import {
  createPrivateKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto';

const DAY = 24 * 60 * 60 * 1000;
const MINUTE = 60 * 1000;

/**
 * Makes a key and its certificate, valid for a day (RFC 5280); both as PEM.
 * @param {import('../__test__/support/certificate.js').CertificateOptions} [options]
 * @returns {import('../__test__/support/certificate.js').Certificate}
 */
export function makeCertificate({
  host = 'localhost',
  kind = 'ec',
  issuer,
  authority = false,
  expired = false,
} = {}) {
  const { privateKey, publicKey } = makeKey(kind);
  const signer = issuer === undefined ? privateKey : createPrivateKey(issuer.key);
  const algorithm = ALGORITHMS[signer.asymmetricKeyType];
  const issuerName = issuer && new X509Certificate(issuer.cert).subject.replace('CN=', '');
  const alternativeNames = sequence(
    der(0x82, Buffer.from(host)),
    der(0x87, Buffer.from([127, 0, 0, 1])),
  );
  const extensions = [sequence(OID.subjectAltName, der(0x04, alternativeNames))];
  if (authority) {
    const isAuthority = sequence(der(0x01, Buffer.from([0xff])));
    extensions.push(sequence(OID.basicConstraints, isTrue, der(0x04, isAuthority)));
  }
  const toBeSigned = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))), // version 3
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])), // serial number, positive
    algorithm,
    nameOf(issuerName ?? host),
    sequence(time(Date.now() - DAY), time(expired ? Date.now() - MINUTE : Date.now() + DAY)),
    nameOf(host), // subject
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...extensions)),
  );
  const digest = signer.asymmetricKeyType === 'ed25519' ? null : 'sha256';
  const signature = sign(digest, toBeSigned, signer);
  const certificate = sequence(
    toBeSigned,
    algorithm,
    der(0x03, Buffer.concat([Buffer.from([0]), signature])),
  );
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: pem('CERTIFICATE', certificate),
  };
}

function makeKey(kind) {
  if (kind === 'rsa') return generateKeyPairSync('rsa', { modulusLength: 2048 });
  if (kind === 'ed25519') return generateKeyPairSync('ed25519');
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

/** A name with nothing but a common name. */
function nameOf(host) {
  return sequence(der(0x31, sequence(OID.commonName, der(0x0c, Buffer.from(host)))));
}

/** Tag, length and content, as DER has them. */
function der(tag, content) {
  const { length } = content;
  const header = [tag, length];
  // From 128 bytes on, the number of bytes that the length has comes before it.
  if (length > 0xff) header.splice(1, 1, 0x82, length >> 8, length & 0xff);
  else if (length > 0x7f) header.splice(1, 0, 0x81);
  return Buffer.concat([Buffer.from(header), content]);
}

function sequence(...parts) {
  return der(0x30, Buffer.concat(parts));
}

/** A UTCTime: `491231235959Z`. */
function time(milliseconds) {
  const digits = new Date(milliseconds).toISOString().replace(/^\d\d|[-:T]|\.\d+/g, '');
  return der(0x17, Buffer.from(digits));
}

function pem(label, bytes) {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}

const isTrue = Buffer.from('0101ff', 'hex');

/** Object identifiers, encoded. */
const OID = {
  commonName: Buffer.from('0603550403', 'hex'), // 2.5.4.3
  subjectAltName: Buffer.from('0603551d11', 'hex'), // 2.5.29.17
  basicConstraints: Buffer.from('0603551d13', 'hex'), // 2.5.29.19
};

/** How a certificate is signed, by the kind of its issuer's key. */
const ALGORITHMS = {
  ec: sequence(Buffer.from('06082a8648ce3d040302', 'hex')), // ecdsa-with-SHA256
  rsa: sequence(Buffer.from('06092a864886f70d01010b0500', 'hex')), // sha256WithRSAEncryption
  ed25519: sequence(Buffer.from('06032b6570', 'hex')),
};
