// Writes the seeds that are committed under corpus/<target>/. Run it after a change: `node seeds.mjs`.
//
// A seed is a small input that reaches one thing by name; what a run adds to a corpus is not
// committed. Inputs that once failed are seeds as well, and their names begin with "regression".
import { mkdirSync, writeFileSync } from 'node:fs';
import { constants, deflateRawSync } from 'node:zlib';

const corpus = new URL('corpus/', import.meta.url);

/** Writes `{ name: bytes }` as the seeds of a target. */
function seeds(target, inputs) {
  const folder = new URL(`${target}/`, corpus);
  mkdirSync(folder, { recursive: true });
  for (const [name, bytes] of Object.entries(inputs)) {
    writeFileSync(new URL(name, folder), bytes);
  }
}

/** Numbers, text and byte arrays, one behind the other. */
function join(...parts) {
  return Buffer.concat(
    parts.flat().map((part) => (typeof part === 'number' ? Buffer.of(part) : Buffer.from(part))),
  );
}

const [FIN, RSV1] = [0x80, 0x40];
const [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] = [0, 1, 2, 8, 9, 10];
const KEY = Buffer.from([0x12, 0x34, 0x56, 0x78]);

/** A masked frame as a client sends it. */
function frame(first, payload = '') {
  const bytes = Buffer.from(payload);
  const length =
    bytes.length < 126
      ? [0x80 | bytes.length]
      : [0x80 | 126, bytes.length >> 8, bytes.length & 0xff];
  return join(
    first,
    length,
    KEY,
    bytes.map((byte, index) => byte ^ KEY[index % 4]),
  );
}

const close = (code, reason = '') => frame(FIN | CLOSE, join(code >> 8, code & 0xff, reason));

seeds('frame_parsing', {
  'text-of-5-bytes': frame(FIN | TEXT, 'hello'),
  'binary-of-126-bytes': frame(FIN | BINARY, 'x'.repeat(126)),
  'length-of-65536': join(FIN | BINARY, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, KEY),
  'length-of-2-to-63-less-1': join(FIN | BINARY, 0xff, 0x7f, Array(7).fill(0xff), KEY),
  'length-with-top-bit': join(FIN | BINARY, 0xff, 0x80, Array(7).fill(0), KEY),
  '16-bit-length-too-short': join(FIN | BINARY, 0xfe, 0, 125, KEY),
  '64-bit-length-too-short': join(FIN | BINARY, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, KEY),
  'first-fragment': frame(TEXT, 'a'),
  continuation: frame(CONTINUATION, 'b'),
  'ping-of-125-bytes': frame(FIN | PING, 'p'.repeat(125)),
  'ping-too-long': join(FIN | PING, 0xfe, 0, 126, KEY),
  'fragmented-ping': frame(PING),
  'reserved-opcode': frame(FIN | 3),
  'reserved-control-opcode': frame(FIN | 15),
  'reserved-bits': frame(FIN | 0x30 | TEXT),
  compressed: frame(FIN | RSV1 | TEXT, 'x'),
  'compressed-continuation': frame(FIN | RSV1 | CONTINUATION, 'x'),
  unmasked: join(FIN | TEXT, 1, 'a'),
  'half-a-length': join(FIN | TEXT, 0xff, 0, 0, 0),
  'close-payload': join(0x03, 0xe8, 'bye €'),
  'close-payload-cut': join(0x03, 0xe8, '€'.repeat(60)),
});

/** Bytes of a connection, behind its parameters and its chunk sizes. */
const wire = (connection, sizes, ...frames) => join(connection, sizes.length, sizes, ...frames);

// The connection byte: a limit (0: 65536, 1: 0, 2: 1, 3: 10, 4: 125, 5: 126, 6: 1000, 7: 65535),
// compression, its client without context takeover, its client's window of 512 bytes.
const [DEFLATE, NO_TAKEOVER, SMALL_WINDOW] = [0x08, 0x10, 0x20];

const deflated = (text) => {
  const bytes = deflateRawSync(text, { finishFlush: constants.Z_SYNC_FLUSH });
  return bytes.subarray(0, bytes.length - 4);
};
const lastBlock = (text) => join(deflateRawSync(text), 0);

seeds('message_assembly', {
  'text-whole': wire(0, [], frame(FIN | TEXT, 'hello €')),
  'text-in-chunks-of-3': wire(0, [2], frame(FIN | TEXT, 'hello €')),
  'binary-of-126-bytes': wire(0, [99, 5], frame(FIN | BINARY, Buffer.alloc(126, 0xff))),
  'fragments-around-a-ping': wire(
    0,
    [4],
    frame(TEXT, 'one '),
    frame(FIN | PING, 'p'),
    frame(CONTINUATION),
    frame(FIN | PONG),
    frame(FIN | CONTINUATION, 'two'),
  ),
  'character-over-fragments': wire(
    0,
    [],
    frame(TEXT, [0xe2, 0x82]),
    frame(FIN | CONTINUATION, [0xac]),
  ),
  'character-unfinished': wire(0, [], frame(FIN | TEXT, [0xe2, 0x82])),
  'text-invalid-early': wire(0, [], frame(FIN | TEXT, [0xce, 0xba, 0xf4, 0x90, 0x80, 0x80, 0x65])),
  'close-with-reason': wire(0, [1], close(1000, 'bye'), frame(FIN | TEXT, 'late')),
  'close-empty': wire(0, [], frame(FIN | CLOSE)),
  'close-of-one-byte': wire(0, [], frame(FIN | CLOSE, 'x')),
  'close-with-1014': wire(0, [], close(1014)),
  'close-with-1005': wire(0, [], close(1005, [0xff])),
  'limit-met': wire(3, [], frame(FIN | TEXT, '0123456789')),
  'limit-exceeded': wire(3, [], frame(FIN | TEXT, '0123456789a')),
  'limit-exceeded-by-fragments': wire(
    3,
    [8],
    frame(BINARY, '012345'),
    frame(FIN | CONTINUATION, '67890'),
  ),
  'limit-of-0': wire(1, [], frame(FIN | TEXT), frame(FIN | PING, 'p'), frame(FIN | TEXT, 'a')),
  'limit-all-but-grown': wire(
    6,
    [],
    frame(BINARY, Buffer.alloc(600)),
    frame(CONTINUATION, 'x'),
    frame(FIN | CONTINUATION, Buffer.alloc(399)),
  ),
  'continuation-alone': wire(0, [], frame(FIN | CONTINUATION, 'x')),
  'message-inside-a-message': wire(0, [], frame(TEXT, 'a'), frame(FIN | TEXT, 'b')),
  'compressed-hello': wire(DEFLATE, [3], frame(FIN | RSV1 | TEXT, deflated('hello hello hello'))),
  'compressed-over-fragments': wire(
    DEFLATE,
    [],
    frame(RSV1 | TEXT, deflated('Hello').subarray(0, 3)),
    frame(FIN | PING),
    frame(FIN | CONTINUATION, deflated('Hello').subarray(3)),
    frame(FIN | TEXT, 'plain'),
  ),
  'compressed-twice-no-takeover': wire(
    DEFLATE | NO_TAKEOVER,
    [7],
    frame(FIN | RSV1 | BINARY, deflated('again')),
    frame(FIN | RSV1 | BINARY, deflated('again')),
  ),
  'compressed-last-block': wire(DEFLATE, [], frame(FIN | RSV1 | TEXT, lastBlock('Hello'))),
  'compressed-bomb': wire(
    6 | DEFLATE,
    [],
    frame(FIN | RSV1 | BINARY, deflated(Buffer.alloc(9000))),
  ),
  'compressed-garbage': wire(
    DEFLATE | SMALL_WINDOW,
    [],
    frame(FIN | RSV1 | BINARY, [255, 255, 255]),
  ),
  'regression-compressed-without-payload': Buffer.from('CmTBgADBpWTBgADBpYApAAA=', 'base64'),
});

// Payloads of a script: bytes, a run of one byte, or text of chosen characters.
const bytes = (content) => join(0, content.length, content);
const run = (byte, length, shift = 0) => join(1 | (shift << 5), length, byte);
const longRun = (byte, length) => join(2 | 0xf0, length >> 9, byte);
const text = (...indexes) => join(2, indexes.length, indexes);
const spoilt = (index, byte, ...indexes) => join(2 | 8, indexes.length, indexes, index, byte);
const K = 0x12;

seeds('message_script', {
  'text-of-all-characters': wire(0, [1], join('m', 1, text(...Array(16).keys()), K)),
  'text-spoilt-in-the-middle': wire(0, [], join('m', 1, spoilt(9, 0xff, ...Array(16).keys()), K)),
  'text-cut-inside-characters': wire(
    0,
    [2],
    join('m', 1 | 8 | (3 << 5), text(12, 13, 12, 11, 9), 1, K, K, 2, K, K, 4, K, K, K),
  ),
  'fragments-around-pings': wire(
    0,
    [],
    join('m', 8 | 16 | (2 << 5), bytes('fragmented'), 3, K, K, 4, K, K, K),
  ),
  'fragments-one-by-one': wire(
    0,
    [5],
    join(
      'f',
      1,
      text(0, 12),
      K,
      'p',
      bytes('ping'),
      K,
      'f',
      0,
      bytes('x'),
      K,
      'f',
      2,
      bytes(''),
      K,
    ),
  ),
  'large-message': wire(0, [0xff], join('m', 0, run(0x61, 250, 7), K)),
  'message-over-the-limit': wire(6, [], join('m', 0, run(0x61, 63, 4), K)),
  'message-of-65536': wire(
    0,
    [],
    join('m', 0, longRun(0x61, 65536), K, 'm', 1, longRun(0x62, 1 << 17), K),
  ),
  'pings-and-pongs': wire(
    0,
    [],
    join('p', bytes(''), K, 'o', bytes('pong'), K, 'p', run(1, 125), K),
  ),
  'close-with-reason': wire(0, [], join('c', 2, 0x03, 0xe8, text(12, 13), K, 'm', 1, text(0), K)),
  'close-without-code': wire(0, [], join('c', 0, 0, 0, K)),
  'close-of-one-byte': wire(0, [], join('c', 1, 3, 0xe8, K)),
  'close-with-bad-code': wire(0, [], join('c', 2, 0x03, 0xed, text(), K)),
  'close-with-bad-reason': wire(0, [], join('c', 2, 0x0b, 0xb8, bytes([0xc0]), K)),
  ...Object.fromEntries(
    [
      'reserved-bit',
      'reserved-bit-of-control',
      'reserved-opcode',
      'fragmented-control',
      'unmasked',
      'long-control',
      'length-16-too-short',
      'length-64-too-short',
      'length-top-bit',
    ].map((name, kind) => [
      `broken-${name}`,
      wire(0, [], join('m', 1, text(0), K, 'x', kind, 0x2a, bytes('junk'))),
    ]),
  ),
  'message-inside-a-message': wire(0, [], join('f', 1, text(0), K, 'd', 1, bytes('x'), K)),
  'end-inside-a-frame': wire(
    0,
    [],
    join('m', 1, text(0, 1, 2), K, 'm', 0, bytes('12345'), K, 'e', 3),
  ),
  'compressed-with-takeover': wire(
    DEFLATE,
    [3],
    join('m', 3, run(0x61, 200), K, 'm', 3 | (1 << 5), run(0x61, 200), 2, K, K),
  ),
  'compressed-last-block': wire(
    DEFLATE,
    [],
    join('m', 2 | 4, bytes('last'), K, 'm', 2, bytes('next'), K),
  ),
  'compressed-over-the-limit': wire(6 | DEFLATE | NO_TAKEOVER, [], join('m', 3, run(0, 250, 7), K)),
  'compressed-bad-text': wire(
    DEFLATE | SMALL_WINDOW,
    [4],
    join('m', 3, bytes([0x61, 0xff, 0x62]), K),
  ),
});

// The first byte: direction, takeover, window. Then the level or the limit, and the chunk sizes.
const deflate = (window, level, sizes, ...messages) =>
  join((window - 9) << 2, level, sizes.length, sizes, ...messages);
const inflate = (limit, sizes, ...messages) =>
  join(1 | (6 << 2), limit, sizes.length, sizes, ...messages);
const forgetfully = (input) => join(input[0] | 2, input.subarray(1));
/** `repeats` below 240: once more than its remainder by 16; from 240: 32 times for each step. */
const repeated = (repeats, content) => join(repeats, content.length, content);
const message = (data) => join(data.length & 0xff, data.length >> 8, data);

seeds('permessage_deflate', {
  'deflate-hello': deflate(15, 6, [], repeated(0, 'hello')),
  'deflate-twice': deflate(15, 6, [2], repeated(3, 'again '), repeated(3, 'again ')),
  'deflate-twice-forgetfully': forgetfully(
    deflate(15, 9, [], repeated(3, 'again '), repeated(3, 'again ')),
  ),
  'deflate-in-a-small-window': deflate(
    9,
    9,
    [99],
    repeated(3, Buffer.from([...Array(250).keys()])),
    repeated(3, Buffer.from([...Array(250).keys()])),
  ),
  'deflate-stored': deflate(12, 0, [], repeated(240, 'stored')),
  'deflate-a-long-run': deflate(15, 1, [0xff], repeated(255, Buffer.from([...Array(64).keys()]))),
  'inflate-hello': inflate(3, [], message(deflated('Hello'))),
  'inflate-shared-window': inflate(
    3,
    [1],
    message(deflated('Hello')),
    message(Buffer.from('f200110000', 'hex')),
  ),
  'inflate-stored': inflate(3, [], message(Buffer.from('000500faff48656c6c6f00', 'hex'))),
  'inflate-last-block': inflate(3, [3], message(lastBlock('Hello')), message(deflated('next'))),
  'inflate-last-block-forgetfully': forgetfully(inflate(3, [], message(lastBlock('Hello')))),
  'inflate-two-blocks': inflate(
    3,
    [],
    message(Buffer.from('f248050000 00ffffcac9c90700'.replace(' ', ''), 'hex')),
  ),
  'inflate-dynamic-codes': inflate(
    3,
    [20],
    message(deflated(Array.from({ length: 60 }, (_, index) => `${index * index}`).join(' '))),
  ),
  'inflate-exactly-the-limit': inflate(2, [], message(deflated(Buffer.alloc(16_384)))),
  'inflate-a-bomb': inflate(2, [], message(deflated(Buffer.alloc(1 << 17)))),
  'inflate-garbage': inflate(3, [], message(Buffer.alloc(20, 0xff))),
  'inflate-without-payload': inflate(3, [], message(''), message('')),
  'inflate-too-far-back': inflate(3, [], message(Buffer.from('f200110000', 'hex'))),
  'inflate-block-without-codes': Buffer.from('9fxa9gA0AA==', 'base64'),
});

/** Fields for the targets that read text: a letter and what follows it, for each. */
const fields = (...texts) => join(texts.flatMap((text) => [text, [0xff]]).slice(0, -1));
const key = 'kdGhlIHNhbXBsZSBub25jZQ==';
const opening = ['uwebsocket', 'cUpgrade', key, 'v13'];

seeds('handshake_headers', {
  'sample-of-the-rfc': fields(...opening),
  lists: fields('uh2c,\tWebSocket', 'ckeep-alive, Upgrade', key, 'v13'),
  post: fields('mPOST', ...opening),
  'http-1-0': fields('h\x01\0', ...opening),
  'version-8': fields('uwebsocket', 'cUpgrade', key, 'v8'),
  'key-too-short': fields('uwebsocket', 'cUpgrade', 'kdGhl', 'v13'),
  'key-with-line-end': fields('uwebsocket', 'cUpgrade', 'kdGhlIHNhbXBsZSBub25jZQ\r\n', 'v13'),
  'no-upgrade': fields('cUpgrade', key, 'v13'),
  'connection-of-others': fields('uwebsocket', 'ckeep-alive Upgrade', key, 'v13'),
  protocols: fields(...opening, 'pgraphql-ws, chat.v2 ,\tmqtt'),
  'protocols-twice': fields(...opening, 'pa, a'),
  'protocols-empty': fields(...opening, 'pa,,b'),
  'protocols-none': fields(...opening, 'p ,\t,'),
  hosts: fields(...opening, 'aexample.com:8080'),
  'host-of-an-address': fields(...opening, 'a[::ffff:1.2.3.4]:'),
  'host-malformed': fields(...opening, 'auser@[::1]:65536'),
  'host-twice': fields(...opening, 'aa', 'ab'),
  'protocol-with-line-end': fields(...opening, 'pa\r\nX: y'),
  'application-headers': fields(
    ...opening,
    'nSet-Cookie',
    '=a=1; HttpOnly',
    'nX-Empty',
    '=',
    'nX-Padded',
    '= \té\t ',
  ),
  'headers-that-split': fields(
    ...opening,
    'nX-A',
    '=a\r\nX-B: c',
    'nX\r\nY',
    '=z',
    'nX-C',
    '=\u010a',
  ),
  'headers-of-the-handshake': fields(
    ...opening,
    'nSec-WebSocket-Accept',
    '=x',
    'nTRANSFER-ENCODING',
    '=chunked',
    'nContent-Length',
    '=5',
  ),
  'deflate-plain': fields(...opening, 'xpermessage-deflate'),
  'deflate-all-parameters': fields(
    ...opening,
    'xpermessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10; client_max_window_bits="11"',
    'd',
  ),
  'deflate-wishes': fields(...opening, 'xpermessage-deflate; client_max_window_bits', 'dSCs3c4'),
  'deflate-second-offer': fields(
    ...opening,
    'xpermessage-deflate; server_max_window_bits=8, foo; a="b", permessage-deflate',
  ),
  'deflate-window-of-8': fields(...opening, 'xpermessage-deflate; client_max_window_bits=8'),
  'extensions-malformed': fields(...opening, 'xa; b="c, d'),
  'rejection-404': fields('r\x03no such path: "/x"'),
  'rejection-426': fields('r\x02other version\r\n\r\nHTTP/1.1 200 OK'),
  'rejection-405-not-ascii': fields('r\0größer \u202e'),
});

seeds('path_and_origin', {
  literal: fields('p/ws', 't/ws', 't/ws/?token=x', 't/wss'),
  root: fields('p/', 't/', 't//', 't/%2F'),
  params: fields('p/chat/:room', 'p/chat/lobby', 't/chat/lobby', 't/chat/a%2Fb', 't/chat/a/b'),
  'stars-and-precedence': fields(
    'p*',
    'p/a/*',
    'p/a/:x',
    'p/a/b',
    'p/:x/b',
    'p/a/:x/*',
    't/a/b',
    't/a/c',
    't/x/b',
    't/a/b/c',
    't/',
  ),
  'same-shape-again': fields('p/a/:x', 'p/a/:y/', 'p/%61/:z', 't/a/b'),
  encoded: fields(
    'p/caf%c3%a9',
    'p/café/:x',
    'p/100%25/*',
    't/café',
    't/caf%C3%A9/y',
    't/100%25/%2F',
  ),
  'normal-form': fields(
    'p/admin/live',
    'p/@me/:x',
    'p*',
    't/%61dmin/%6Cive',
    't/%40me/"<>\\^`{|}',
    't//admin/live',
    't/caf\u00c3\u00a9',
    't/.%2E/a',
  ),
  'patterns-of-other-routers': fields(
    'p/chat/{room}',
    'p/<int:a>/[b]/:c(\\d+)',
    'p/files/[...rest]',
    'p/(a|b)',
    'p/**',
  ),
  'encoded-twice': fields('p/a%2Fb', 'p/a%2525', 't/a%2fb', 't/a%252Fb', 't/a%25', 't/a%2525'),
  'encoding-malformed': fields('p/%zz', 'p*', 't/%', 't/%ff', 't/%ED%A0%80'),
  'patterns-malformed': fields(
    'p',
    'pws',
    'p//',
    'p/a?',
    'p/a*',
    'p/*/a',
    'p/:',
    'p/:x/:x',
    'p/a:b',
  ),
  'absolute-form': fields(
    'p/ws',
    't',
    'thttp://host/ws',
    'tWSS://u@[::1]:80?x',
    'thttp:///ws',
    'tftp://h/ws',
  ),
  'dot-segments': fields('p/ws', 'p/:x/ws', 't/./ws', 't/a/../ws', 't/%2e%2E/ws'),
  'origin-exact': fields(
    'ohttps://MyApp.com/',
    'Ohttps://myapp.com',
    'Ohttps://myapp.com.evil.com',
  ),
  'origin-null': fields('onull', 'Onull', 'Ohttps://null', 'O'),
  'origin-any-port': fields(
    'ohttp://localhost:*',
    'Ohttp://localhost:3000',
    'Ohttp://localhost:1@evil.com',
    'Ohttp://localhost:',
  ),
  'origin-subdomains': fields(
    'ohttps://*.example.com',
    'Ohttps://a.b.example.com',
    'Ohttps://evil.com/.example.com',
    'Ohttps://example.com',
  ),
  'origin-default-ports': fields(
    'ohttps://a.example:443',
    'ohttp://*.b.example',
    'ohttp://[0::1]:*',
    'Ohttps://a.example',
    'Ohttp://x.b.example:80',
    'Ohttp://[::1]:3000',
  ),
  'origin-no-origin': fields(
    'oexample.com',
    'olocalhost:3000',
    'ohttps://u@a/b?c#d',
    'ofile:///',
    'Ofile://',
  ),
  'origin-several-stars': fields('o*://*.a.b:*', 'o*', 'o**', 'Ox://c.a.b:1', 'Ocafé', 'O a'),
  'origin-rule-malformed': fields('o', 'o/', 'ohttps://a b', 'ohttps://café.fr', 'Ohttps://a'),
  'regexp-of-the-reference': fields(
    'r^https:\\/\\/.*\\.mycompany\\.com$/i',
    'Ohttps://app.MyCompany.com',
    'Ohttps://mycompany.com',
  ),
  'regexp-quantifiers': fields('r^a*b+?c?d{2}e{1,}f{0,2}$/', 'Oabddef', 'Obdde'),
  'regexp-classes': fields('r^[^a-c\\d_.-]+[\\]\\x41\\b-]$/s', 'Oxyz]', 'OA', 'Od-'),
  'regexp-groups': fields('r(?:a|(b)|(?<c>d))+\\bx\\B/gm', 'Oabdx-x', 'Odx'),
  'regexp-left-to-javascript': fields(
    'r(?=a)/',
    'r(a)\\1/',
    'ra/u',
    'r[a&&b]/v',
    'r\\u0041/',
    'Oa',
  ),
});

/** Two bytes, the lower one first. */
const number = (value) => [value & 0xff, value >> 8];

// A byte of settings (1 drops, 2 compresses, 4 and 8 without context, 16 over a bridge), then steps.
const step = {
  bytes: (bytes) => join(0, number(bytes.length), bytes),
  frame: (first, payload = '') => join(1, first, number(Buffer.byteLength(payload)), payload),
  peerEnds: [2],
  inboxFull: [3],
  goOn: [4],
  handlerReady: [5],
  send: (length) => join(6, number(length)),
  broadcast: (first, ...others) =>
    join(7, number(first), others.length, ...others.map((length) => number(length))),
  close: (reason = 0) => [8, reason],
  ping: [9],
  release: [11],
  takes: (count) => join(12, number(count)),
  takesAll: [13],
  beat: (time) => [14, 0, time],
  pongLimit: (time) => [14, 1, time],
  closeLimit: (time) => [14, 2, time],
  answer: [15],
  lost: [16, 0],
  shed: [17, 0],
  sendAlone: (length, written) => join(18, number(length), number(written)),
  pace: [19],
  holds: (bytes) => join(20, number(bytes)),
  took: (count) => [21, count],
  timePongs: [22, 1],
  passes: (millis) => [23, millis],
};
const compressed = (data, flush) => deflateRawSync(data, { finishFlush: flush });
const bomb = compressed(Buffer.alloc(60_000), constants.Z_SYNC_FLUSH).subarray(0, -4);

seeds('session_dialogue', {
  echo: join(0, step.handlerReady, step.frame(FIN | TEXT, 'hello'), step.send(64), step.takesAll),
  'we-close': join(0, step.close(5), step.frame(FIN | TEXT, 'late'), step.frame(FIN | CLOSE)),
  'we-close-in-vain': join(0, step.takes(9), step.send(64), step.close(), step.closeLimit(1)),
  'silent-peer': join(0, step.beat(1), step.pongLimit(200), step.release),
  'silent-peer-over-a-bridge': join(
    ...[16, step.beat(1), step.answer, step.pongLimit(200), step.answer],
  ),
  paced: join(
    ...[0, step.frame(FIN | TEXT, 'held'), step.pace, step.frame(FIN | TEXT, 'counted')],
    ...[step.holds(65_535), step.beat(1), step.pongLimit(200), step.took(1), step.goOn],
    ...[step.handlerReady, step.pace, step.took(1), step.frame(FIN | CLOSE), step.release],
  ),
  'too-fast-is-closed': join(
    ...[32, step.handlerReady, ...Array.from({ length: 5 }, () => step.frame(FIN | TEXT, 'a'))],
    step.release,
  ),
  'too-fast-is-dropped': join(
    ...[96, step.handlerReady, ...Array.from({ length: 5 }, () => step.frame(FIN | TEXT, 'a'))],
    ...[step.passes(20), step.frame(FIN | TEXT, 'b'), step.frame(FIN | CLOSE), step.release],
  ),
  'too-fast-waits': join(
    ...[160, step.handlerReady, step.bytes(join(...Array(5).fill(frame(FIN | TEXT, 'a'))))],
    ...[step.beat(1), step.pongLimit(200), step.goOn, step.passes(40), step.goOn, step.close(3)],
    ...[step.goOn, step.frame(FIN | CLOSE)],
  ),
  'timed-pongs': join(
    ...[0, step.timePongs, step.ping, step.beat(9), step.frame(FIN | PONG, '\0\0\0\x01')],
    ...[step.frame(FIN | PONG, '\0\0\0\0'), step.frame(FIN | PONG)],
  ),
  'written-alone-in-part': join(
    ...[0, step.sendAlone(80, 9), step.frame(FIN | PING, 'p'), step.send(64)],
    ...[step.sendAlone(80, 9), step.frame(FIN | CLOSE), step.release, step.takesAll],
  ),
  'regression-peer-that-ends-its-side': join(
    ...[0, step.handlerReady, step.takes(40), step.send(800), step.frame(FIN | TEXT, 'go')],
    ...[step.peerEnds, step.send(80), step.release, step.takesAll],
  ),
  'regression-queue-of-who-closes-first': join(
    ...[1, step.takes(50), step.send(3000), step.send(900), step.frame(FIN | CLOSE), step.send(80)],
    ...[step.broadcast(80), step.release, step.takesAll],
  ),
  'regression-queue-of-who-breaks-the-protocol': join(
    ...[1, step.takes(50), step.send(3000), step.bytes(join(FIN | TEXT, 1, 'x')), step.release],
  ),
  'regression-joined-broadcasts': join(
    ...[1, step.takes(50), step.broadcast(2000, 2000, 2000), step.takesAll],
  ),
  'regression-joined-broadcasts-that-close': join(
    ...[0, step.takes(50), step.broadcast(2000, 2000, 2000), step.takesAll],
  ),
  'regression-bombs-for-a-handler': join(
    ...[2, step.frame(FIN | RSV1 | BINARY, bomb), step.frame(FIN | RSV1 | BINARY, bomb)],
    ...[step.frame(FIN | RSV1 | BINARY, bomb), step.handlerReady, step.goOn],
  ),
  'regression-unfinished-bomb': join(
    2,
    step.handlerReady,
    step.frame(RSV1 | BINARY, bomb),
    step.shed,
  ),
  'regression-full-inbox': join(
    ...[0, step.handlerReady, step.inboxFull, step.frame(FIN | TEXT, 'a'), step.goOn],
    ...[step.inboxFull, step.goOn],
  ),
  'regression-compressed-nothing': join(2, step.handlerReady, step.frame(FIN | RSV1 | TEXT)),
  'regression-final-block': join(
    ...[
      2,
      step.handlerReady,
      step.frame(FIN | RSV1 | TEXT, compressed('Hello', constants.Z_FINISH)),
    ],
    step.frame(FIN | RSV1 | TEXT, compressed('Hello', constants.Z_SYNC_FLUSH).subarray(0, -4)),
  ),
  'pings-while-blocked': join(
    ...[
      0,
      step.takes(9),
      step.ping,
      step.ping,
      step.frame(FIN | PING, 'a'),
      step.frame(FIN | PING),
    ],
    step.takesAll,
  ),
  'regression-pong-that-waited-for-a-close': join(
    ...[0, step.takes(40), step.send(800), step.frame(FIN | PING, 'a'), step.close(3)],
    ...[step.takesAll, step.frame(FIN | TEXT, 'late'), step.frame(FIN | CLOSE)],
  ),
  'shared-context': join(2, step.send(800), step.broadcast(800, 64), step.send(800), step.lost),
});

// Where the client begins, the chunk sizes with their count, and then bytes in the place of a handshake, or
// what it does after one: 0 says something of a length, 2 asks for new keys, 3 ends, 4 writes garbage, 5
// flips a byte.
const [INSTEAD, TLS12, TLS13] = [0, 1, 2];
seeds('tls_records', {
  'plain-http': join(INSTEAD, 0, 'GET / HTTP/1.1\r\n\r\n'),
  'half-a-hello-byte-by-byte': join(INSTEAD, 1, 0, [22, 3, 1, 0, 5, 1, 0, 0xff, 0xf0, 3]),
  'tls12-messages-byte-by-byte': join(TLS12, 1, 0, [0, 16, 0, 0, 1, 0, 3]),
  'tls13-a-long-message-in-chunks': join(TLS13, 2, [0xff, 20], [0, 0xff, 0xff, 3]),
  'tls13-new-keys': join(TLS13, 0, [2, 0, 9, 0, 2, 2, 0, 9, 0, 3]),
  'tls13-garbage': join(TLS13, 0, [0, 9, 0, 4, 23, 3, 3, 0]),
  'tls12-a-flipped-byte': join(TLS12, 0, [0, 99, 0, 5, 7, 0, 0, 9, 0]),
});

const signature = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10];
const ipv4 = [192, 0, 2, 1, 198, 51, 100, 7, 221, 213, 1, 187];

seeds('client_address', {
  'version-1': 'PROXY TCP4 192.0.2.1 198.51.100.7 56789 443\r\nGET /',
  'version-1-ipv6': 'PROXY TCP6 2001:db8::1 ::1 9 443\r\n',
  'version-1-unknown': 'PROXY UNKNOWN anything\r\n',
  'version-2': join(signature, 0x21, 0x11, 0, 12, ipv4, 'GET /'),
  'version-2-ipv6': join(signature, 0x21, 0x21, 0, 36, Buffer.alloc(36, 1)),
  'version-2-with-more': join(signature, 0x21, 0x11, 0, 19, ipv4, 4, 0, 4, 'abcd'),
  'version-2-local': join(signature, 0x20, 0, 0, 0),
  'version-2-unspecified': join(signature, 0x21, 0, 0, 3, 'abc'),
  'version-2-unix': join(signature, 0x21, 0x31, 0, 216, Buffer.alloc(216, 47)),
  forwarded: 'loopback, 10.0.0.0/8\n192.0.2.1, [2001:db8::1]:443, 10.1.2.3:80',
  'forwarded-by-mapped': '::ffff:127.0.0.0/104\nunknown, fe80::1%eth0',
});
