/** TLS on the I/O threads. */

/** What clients over TLS are shown: a certificate chain and its private key, in PEM. */
export interface WebSocketTlsIdentity {
  /**
   * Certificate chain, the server's own first. Several, each with a key of its own in `key`, are for
   * clients that know different kinds of signatures, such as ECDSA and RSA.
   */
  cert: string | Uint8Array | (string | Uint8Array)[];

  /**
   * Private key, or one for each of `cert` in any order: ECDSA with P-256 or P-384, Ed25519, or RSA with
   * 2048 to 8192 bits. Signing by RSA takes more than half a millisecond, in which nothing else happens
   * on the I/O thread.
   */
  key: string | Uint8Array | (string | Uint8Array)[];

  /**
   * Opens a key that is encrypted.
   *
   * @default undefined
   */
  passphrase?: string | undefined;
}

/** How TLS is spoken; as `https.createServer` takes it, as far as it goes. */
export interface WebSocketTlsOptions extends WebSocketTlsIdentity {
  /**
   * What clients are shown that ask for one of these host names (RFC 6066 §3). `*` may stand for the
   * first label, as in `'*.example.com'`.
   *
   * @default {}
   */
  sni?: Record<string, WebSocketTlsIdentity> | undefined;

  /**
   * Oldest version of TLS.
   *
   * @default 'TLSv1.2'
   */
  minVersion?: 'TLSv1.2' | 'TLSv1.3' | undefined;

  /**
   * Newest version of TLS.
   *
   * @default 'TLSv1.3'
   */
  maxVersion?: 'TLSv1.2' | 'TLSv1.3' | undefined;

  /**
   * Cipher suites by OpenSSL's names, with colons between them, best first.
   *
   * @default all of them
   */
  ciphers?: string | undefined;

  /**
   * Asks clients for a certificate. `req.socket.authorized` and `req.socket.getPeerCertificate()` tell
   * of it, as those of a `tls.TLSSocket` do.
   *
   * @default false
   */
  requestCert?: boolean | undefined;

  /**
   * Refuses clients without a certificate that is valid, where one is asked for.
   *
   * @default true
   */
  rejectUnauthorized?: boolean | undefined;

  /**
   * Certificates of those who may have issued a client's, in PEM.
   *
   * @default Node's own
   */
  ca?: string | Uint8Array | (string | Uint8Array)[] | undefined;
}
