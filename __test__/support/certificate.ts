/** Certificates for servers and clients of the tests, which `scripts/certificate.mjs` makes. */
import { makeCertificate as make } from '../../scripts/certificate.mjs';

export interface Certificate {
  /** Private key, as PEM. */
  key: string;
  /** Certificate of `localhost` and 127.0.0.1, or of another host, as PEM. */
  cert: string;
}

export interface CertificateOptions {
  /** Whose it is. */
  host?: string;
  /** On the curve P-256 by default. */
  kind?: 'ec' | 'rsa' | 'ed25519';
  /** Who signs it; by default its own key. */
  issuer?: Certificate;
  /** It may sign others. */
  authority?: boolean;
  /** It was valid until a minute ago. */
  expired?: boolean;
}

/** Makes a key and its certificate, valid for a day. */
export const makeCertificate: (options?: CertificateOptions) => Certificate = make;
