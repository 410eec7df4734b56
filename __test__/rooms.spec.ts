import { describe, expect, test } from 'vitest';
import {
  WebSocketPlugin,
  type WSConnection,
  type WSContext,
  type WSRoomManager,
} from '../index.js';
import { type Client, connect } from './support/client.js';
import { queue } from './support/events.js';
import { fetchFrom } from './support/http.js';
import { pair, type Recorded, rawPair, serveRecorded } from './support/pair.js';
import { CLOSE, closePayload, frame, rawUpgrade, TEXT } from './support/raw.js';
import { type Served, serve } from './support/server.js';

interface Member {
  client: Client;
  socket: WSConnection;
}

/** One more connection, with both of its ends. */
async function join({ url, sockets }: Recorded, ...rooms: string[]): Promise<Member> {
  const client = await connect(url());
  const socket = await sockets.next();
  for (const room of rooms) socket.join(room);
  return { client, socket };
}

/** What a client has got by the time that a marker arrives which is sent now. */
async function received({ client, socket }: Member): Promise<(string | Buffer)[]> {
  socket.send('marker');
  const messages: (string | Buffer)[] = [];
  for (;;) {
    const message = await client.next();
    if (message === 'marker') return messages;
    messages.push(message);
  }
}

/** `ctx.wsRooms` as an HTTP route sees it. */
async function wsRoomsOf({ app, port }: Pick<Served, 'app' | 'port'>): Promise<WSRoomManager> {
  let rooms: WSRoomManager | undefined;
  app.get('/rooms', (ctx) => {
    rooms = (ctx as unknown as WSContext).wsRooms;
    ctx.res.json({});
  });
  await fetchFrom(port, '/rooms');
  return rooms as WSRoomManager;
}

describe('wsBroadcast', () => {
  test('with a room reaches its members and nobody else', async () => {
    const served = await serveRecorded();
    const members = [await join(served, 'blue'), await join(served, 'blue', 'red')];
    const others = [await join(served), await join(served, 'red')];
    served.wsApp.wsBroadcast('hello', 'blue');
    for (const member of members) expect(await received(member)).toEqual(['hello']);
    for (const other of others) expect(await received(other)).toEqual([]);
  });

  test('without a room reaches everyone on every path, those without a handler as well', async () => {
    const { wsApp, url } = await serve({ path: ['/quiet', '/many/*'] }, ({ wsApp }) => {
      wsApp.ws('/one', () => {});
      wsApp.ws('/two/:id', (socket) => socket.join('room'));
    });
    const paths = ['/quiet', '/many/of/them', '/one', '/two/2', '/two/3?query'];
    const clients = await Promise.all(paths.map((path) => connect(url(path))));
    wsApp.wsBroadcast('to everyone');
    for (const client of clients) expect(await client.next()).toBe('to everyone');
    wsApp.wsBroadcast('to the room', 'room');
    wsApp.wsBroadcast('marker');
    const got = [];
    for (const client of clients) {
      const messages = [await client.next()];
      while (messages.at(-1) !== 'marker') messages.push(await client.next());
      got.push(messages.length);
    }
    expect(got).toEqual([1, 1, 1, 2, 2]);
  });

  test('reaches members on different paths of one room', async () => {
    const { wsApp, url } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/one', (socket) => socket.join('room'));
      wsApp.ws('/two', (socket) => socket.join('room'));
    });
    const clients = [await connect(url('/one')), await connect(url('/two'))];
    wsApp.wsBroadcast('hello', 'room');
    for (const client of clients) expect(await client.next()).toBe('hello');
  });

  test('to a room that does not exist, or to nobody at all, is no error', async () => {
    const served = await serveRecorded();
    served.wsApp.wsBroadcast('hello');
    served.wsApp.wsBroadcast('hello', 'nowhere');
    const member = await join(served, 'room');
    served.wsApp.wsBroadcast('hello', 'nowhere');
    expect(await received(member)).toEqual([]);
    expect(served.plugin.getStats().rooms).toEqual(['room']);
  });

  test('returns the application', async () => {
    const { wsApp, app } = await serve();
    expect(wsApp.wsBroadcast('x')).toBe(app);
    expect(wsApp.wsBroadcast('x', 'room')).toBe(app);
  });

  test('has undefined mean everyone, and the empty string the room of that name', async () => {
    const served = await serveRecorded();
    const members = [await join(served, ''), await join(served)] as [Member, Member];
    served.wsApp.wsBroadcast('all', undefined);
    served.wsApp.wsBroadcast('some', '');
    expect(await received(members[0])).toEqual(['all', 'some']);
    expect(await received(members[1])).toEqual(['all']);
  });

  test('from an HTTP route reaches the room, and ctx.wsRooms does the same', async () => {
    const served = await serveRecorded();
    const member = await join(served, 'room');
    served.app.use(served.app.json()).post('/tell', (ctx) => {
      const { message, room } = ctx.body as { message: string; room: string };
      served.wsApp.wsBroadcast(message, room);
      (ctx as unknown as WSContext).wsRooms.broadcast(room, `${message} again`);
      ctx.res.json({ success: true });
    });
    const response = await fetchFrom(served.port, '/tell', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ message: 'from HTTP', room: 'room' }),
    });
    expect(await response.json()).toEqual({ success: true });
    expect(await received(member)).toEqual(['from HTTP', 'from HTTP again']);
  });

  test.each([
    ['a number', [5], /^wsBroadcast: \w+ must be .*, got 5/],
    ['nothing', [], /^wsBroadcast: \w+ must be .*, got undefined/],
    [
      'an object',
      [{}],
      /^wsBroadcast: \w+ must be .*, got an object; JSON\.stringify\(\) makes a string/,
    ],
    ['a number as room', ['x', 5], /^wsBroadcast: room must be a string, got 5/],
    ['null as room', ['x', null], /^wsBroadcast: room must be a string, got null/],
    [
      'an array as room',
      ['x', ['a']],
      /^wsBroadcast: .* got an array; rooms\.broadcast\(\) of the plugin/,
    ],
  ])('of %s is a TypeError that says what is accepted', async (_, args, message) => {
    const served = await serveRecorded();
    const member = await join(served);
    const call = () => (served.wsApp.wsBroadcast as (...args: unknown[]) => void)(...args);
    expect(call).toThrow(TypeError);
    expect(call).toThrow(message);
    expect(await received(member)).toEqual([]);
  });
});

describe('socket.broadcast', () => {
  test('reaches the room without its sender', async () => {
    const served = await serveRecorded();
    const [one, two, three] = [
      await join(served, 'room'),
      await join(served, 'room'),
      await join(served),
    ];
    one.socket.broadcast('room', 'hello');
    expect(await received(two)).toEqual(['hello']);
    expect(await received(one)).toEqual([]);
    expect(await received(three)).toEqual([]);
  });

  test('works for a sender that is not in the room, and for one that is alone in it', async () => {
    const served = await serveRecorded();
    const [outside, inside] = [await join(served), await join(served, 'room')];
    outside.socket.broadcast('room', 'from outside');
    inside.socket.broadcast('room', 'to nobody');
    outside.socket.broadcast('nowhere', 'to nobody');
    expect(await received(inside)).toEqual(['from outside']);
    expect(await received(outside)).toEqual([]);
  });

  test.each([
    ['closes', (client: Client) => client.close(4000)],
    ['is gone', (client: Client) => client.ws.terminate()],
  ])('works inside of onClose of the connection itself, when it %s', async (_, leave) => {
    const served = await serveRecorded({}, (socket) => {
      socket.join('general');
      socket.onClose(() => {
        socket.broadcast('general', `${socket.id} left`);
        served.wsApp.wsBroadcast('somebody left', 'general');
      });
    });
    const [stays, leaves] = [await join(served), await join(served)];
    leave(leaves.client);
    await served.ends.next();
    expect(await received(stays)).toEqual([`${leaves.socket.id} left`, 'somebody left']);
  });

  test('takes binary', async () => {
    const served = await serveRecorded();
    const [one, two] = [await join(served, 'room'), await join(served, 'room')];
    one.socket.broadcast('room', Buffer.from([1, 2]));
    expect(await received(two)).toEqual([Buffer.from([1, 2])]);
  });

  test.each([
    ['a number as room', [5, 'x'], /^broadcast: room must be a string, got 5/],
    ['no data', ['room'], /^broadcast: data must be .*, got undefined/],
    ['an object as data', ['room', {}], /^broadcast: data must be .*, got /],
  ])('of %s is a TypeError that says what is accepted', async (_, args, message) => {
    const { socket } = await pair();
    const call = () => (socket.broadcast as (...args: unknown[]) => void)(...args);
    expect(call).toThrow(TypeError);
    expect(call).toThrow(message);
  });
});

describe('join and leave', () => {
  test('joining twice delivers once, and leaving once is enough', async () => {
    const served = await serveRecorded();
    const member = await join(served, 'room', 'room', 'room');
    served.wsApp.wsBroadcast('once', 'room');
    expect(await received(member)).toEqual(['once']);
    member.socket.leave('room');
    served.wsApp.wsBroadcast('never', 'room');
    expect(await received(member)).toEqual([]);
    expect(served.plugin.getStats().rooms).toEqual([]);
  });

  test('leaving what was never joined is nothing', async () => {
    const served = await serveRecorded();
    const [member, other] = [await join(served, 'room'), await join(served)];
    other.socket.leave('room');
    other.socket.leave('nowhere');
    member.socket.leave('nowhere');
    served.wsApp.wsBroadcast('hello', 'room');
    expect(await received(member)).toEqual(['hello']);
    expect(served.plugin.getStats().rooms).toEqual(['room']);
  });

  test('many rooms of one connection are apart from each other', async () => {
    const served = await serveRecorded();
    const rooms = Array.from({ length: 200 }, (_, index) => `room ${index}`);
    const member = await join(served, ...rooms);
    for (const room of rooms) served.wsApp.wsBroadcast(room, room);
    expect(await received(member)).toEqual(rooms);
    for (const room of rooms.slice(0, 100)) member.socket.leave(room);
    for (const room of rooms) served.wsApp.wsBroadcast(room, room);
    expect(await received(member)).toEqual(rooms.slice(100));
    expect([...served.plugin.getStats().rooms].sort()).toEqual(rooms.slice(100).sort());
  });

  test('a join after close does nothing', async () => {
    const created: string[] = [];
    const { client, socket, ends, plugin, wsApp } = await rawPair();
    plugin.on('room:created', (room) => created.push(room));
    socket.close(4000);
    socket.join('closing');
    wsApp.wsBroadcast('late', 'closing');
    expect(plugin.getStats().rooms).toEqual([]);
    expect((await client.frame()).opcode).toBe(CLOSE);
    client.write(frame(CLOSE, closePayload(4000)));
    await ends.next();
    socket.join('closed');
    expect(plugin.getStats().rooms).toEqual([]);
    expect(created).toEqual([]);
  });

  test('a join inside of onClose does nothing', async () => {
    const served = await serveRecorded({}, (socket) => {
      socket.onClose(() => socket.join('too late'));
    });
    const { client } = await join(served);
    client.close();
    await served.ends.next();
    await new Promise((resolve) => setImmediate(resolve));
    expect(served.plugin.getStats().rooms).toEqual([]);
  });

  test('a connection that is being closed can still leave, and is cleaned up if it does not', async () => {
    const { client, socket, ends, plugin } = await rawPair();
    socket.join('one');
    socket.join('two');
    socket.close(4000);
    socket.leave('one');
    expect(plugin.getStats().rooms).toEqual(['two']);
    await client.frame();
    client.write(frame(CLOSE, closePayload(4000)));
    await ends.next();
    expect(plugin.getStats().rooms).toEqual([]);
  });

  test('whoever ends, in whatever way, leaves all rooms before onClose', async () => {
    const served = await serveRecorded();
    const rooms = queue<string[]>();
    const wsRooms = await wsRoomsOf(served);
    const ways: ((member: Member) => void)[] = [
      ({ client }) => client.close(4000),
      ({ client }) => client.ws.terminate(),
      ({ socket }) => socket.close(4000),
    ];
    const stays = await join(served, 'kept');
    for (const way of ways) {
      const member = await join(served, 'a', 'b', 'kept');
      member.socket.onClose(() => rooms.push(served.plugin.getStats().rooms));
      expect([...wsRooms.getRooms()].sort()).toEqual(['a', 'b', 'kept']);
      way(member);
      expect(await rooms.next()).toEqual(['kept']);
      expect(wsRooms.getRooms()).toEqual(['kept']);
    }
    served.wsApp.wsBroadcast('still here', 'kept');
    expect(await received(stays)).toEqual(['still here']);
  });

  test.each([
    ['join', 5, /^join: room must be a string, got 5/],
    ['join', undefined, /^join: room must be a string, got undefined/],
    ['join', null, /^join: room must be a string, got null/],
    ['join', ['room'], /^join: room must be a string, got /],
    ['leave', 5, /^leave: room must be a string, got 5/],
    ['leave', undefined, /^leave: room must be a string, got undefined/],
  ] as const)('%s(%j) is a TypeError that says what is accepted', async (method, room, message) => {
    const { socket } = await pair();
    expect(() => socket[method](room as never)).toThrow(TypeError);
    expect(() => socket[method](room as never)).toThrow(message);
  });
});

describe('any string is a name of a room', () => {
  test.each([
    ['the empty one', ''],
    ['a space', ' '],
    ['NUL', '\0'],
    ['text around NUL', 'a\0b'],
    ['letters of all kinds', 'räum für 漢字 und 😀'],
    ['a decomposed letter', 'u\u0308'],
    ['__proto__', '__proto__'],
    ['constructor', 'constructor'],
    ['a number', '0'],
    ['a star', '*'],
    ['a line break', 'a\r\nb'],
    ['sixty thousand characters', 'x'.repeat(60_000)],
  ])('%s', async (_, name) => {
    const created: string[] = [];
    const destroyed: string[] = [];
    const served = await serveRecorded();
    served.plugin.on('room:created', (room) => created.push(room));
    served.plugin.on('room:destroyed', (room) => destroyed.push(room));
    const [inside, outside] = [await join(served, name), await join(served, `${name}x`)];
    expect(served.plugin.getStats().rooms).toEqual([name, `${name}x`]);
    served.wsApp.wsBroadcast('one', name);
    outside.socket.broadcast(name, 'two');
    expect(await received(inside)).toEqual(['one', 'two']);
    expect(await received(outside)).toEqual([]);
    inside.socket.leave(name);
    expect(served.plugin.getStats().rooms).toEqual([`${name}x`]);
    expect(created).toEqual([name, `${name}x`]);
    expect(destroyed).toEqual([name]);
  });

  test('names that look alike are different rooms', async () => {
    const served = await serveRecorded();
    const names = ['ü', 'u\u0308', 'Room', 'room', 'room ', 'room\0', 'ro', 'o', '\ufffd'];
    const members = new Map<string, Member>();
    for (const name of names) members.set(name, await join(served, name));
    for (const name of names) served.wsApp.wsBroadcast(name, name);
    for (const [name, member] of members) expect(await received(member)).toEqual([name]);
  });

  test('even strings that are not well-formed Unicode are different rooms', async () => {
    const served = await serveRecorded();
    const names = ['\ud800', '\ud801', '\udc00', '\ufffd'];
    const members: Member[] = [];
    for (const name of names) members.push(await join(served, name));
    expect(served.plugin.getStats().rooms).toEqual(names);
    names.forEach((name, index) => {
      served.wsApp.wsBroadcast(`${index}`, name);
    });
    for (const [index, member] of members.entries()) {
      expect(await received(member)).toEqual([`${index}`]);
    }
  });
});

describe('a broadcast reaches the members of the moment of the call', () => {
  test('not who joins later in the same tick', async () => {
    const served = await serveRecorded();
    const [member, late] = [await join(served, 'room'), await join(served)];
    served.wsApp.wsBroadcast('before', 'room');
    late.socket.join('room');
    served.wsApp.wsBroadcast('after', 'room');
    expect(await received(member)).toEqual(['before', 'after']);
    expect(await received(late)).toEqual(['after']);
  });

  test('but who leaves later in the same tick', async () => {
    const served = await serveRecorded();
    const member = await join(served, 'room');
    served.wsApp.wsBroadcast('before', 'room');
    member.socket.leave('room');
    served.wsApp.wsBroadcast('between', 'room');
    member.socket.join('room');
    served.wsApp.wsBroadcast('after', 'room');
    expect(await received(member)).toEqual(['before', 'after']);
  });

  test('and who closes later in the same tick', async () => {
    const { client, socket, wsApp } = await pair();
    socket.join('room');
    wsApp.wsBroadcast('before', 'room');
    wsApp.wsBroadcast('to all');
    socket.close(4000);
    wsApp.wsBroadcast('after', 'room');
    expect((await client.closed).code).toBe(4000);
    expect([await client.next(), await client.next(), ...client.waiting]).toEqual([
      'before',
      'to all',
    ]);
  });

  test('each of many calls between changes for itself', async () => {
    const served = await serveRecorded();
    const [one, two] = [await join(served), await join(served)];
    const expected: [string[], string[]] = [[], []];
    const inside: [boolean, boolean] = [false, false];
    for (let index = 0; index < 1000; index++) {
      const who = (index * 7) % 3 === 0 ? 0 : 1;
      const { socket } = who === 0 ? one : two;
      if (inside[who]) socket.leave('room');
      else socket.join('room');
      inside[who] = !inside[who];
      const text = `${index}`;
      served.wsApp.wsBroadcast(text, 'room');
      if (inside[0]) expected[0].push(text);
      if (inside[1]) expected[1].push(text);
    }
    expect(await received(one)).toEqual(expected[0]);
    expect(await received(two)).toEqual(expected[1]);
  });
});

describe('room:created and room:destroyed', () => {
  /** All that is told of rooms, by whom, in its order. */
  async function heard(served: Recorded): Promise<string[]> {
    const events: string[] = [];
    const wsRooms = await wsRoomsOf(served);
    for (const event of ['room:created', 'room:destroyed'] as const) {
      served.plugin.on(event, (room) => events.push(`plugin ${event} ${room}`));
      wsRooms.on(event, (room) => events.push(`wsRooms ${event} ${room}`));
      served.app.on(`plugin:WebSocketPlugin:${event}`, (room) =>
        events.push(`app ${event} ${room}`),
      );
    }
    return events;
  }

  /** The same event on all three. */
  function everywhere(event: string): string[] {
    return ['app', 'plugin', 'wsRooms'].map((who) => `${who} ${event}`);
  }

  test('are told by the plugin, ctx.wsRooms and the application, once per life of a room', async () => {
    const served = await serveRecorded();
    const events = await heard(served);
    const told = () => events.splice(0).sort();
    const [one, two] = [await join(served), await join(served)];

    one.socket.join('room');
    expect(told()).toEqual(everywhere('room:created room'));
    two.socket.join('room');
    one.socket.join('room');
    one.socket.leave('room');
    expect(told()).toEqual([]);
    two.socket.leave('room');
    expect(told()).toEqual(everywhere('room:destroyed room'));
    two.socket.leave('room');
    expect(told()).toEqual([]);

    two.socket.join('room');
    expect(told()).toEqual(everywhere('room:created room'));
    two.client.close();
    await served.ends.next();
    expect(told()).toEqual(everywhere('room:destroyed room'));
  });

  test('are told once where the last members end at the same time', async () => {
    const served = await serveRecorded();
    const events = await heard(served);
    const members: Member[] = [];
    for (let index = 0; index < 10; index++) members.push(await join(served, 'room', `${index}`));
    for (const { client } of members) client.close();
    for (const _ of members) await served.ends.next();
    expect(events.filter((event) => event === 'plugin room:created room')).toHaveLength(1);
    expect(events.filter((event) => event === 'plugin room:destroyed room')).toHaveLength(1);
    expect(events.filter((event) => event.startsWith('plugin room:destroyed'))).toHaveLength(11);
    expect(served.plugin.getStats().rooms).toEqual([]);
  });

  test('come when the room is there, and when it is gone', async () => {
    const served = await serveRecorded();
    const { socket } = await join(served);
    const rooms: string[][] = [];
    served.plugin.on('room:created', () => rooms.push(served.plugin.getStats().rooms));
    served.plugin.on('room:destroyed', () => rooms.push(served.plugin.getStats().rooms));
    socket.join('room');
    socket.leave('room');
    expect(rooms).toEqual([['room'], []]);
  });

  test('may themselves join and broadcast', async () => {
    const served = await serveRecorded();
    const member = await join(served);
    served.plugin.on('room:created', (room) => {
      if (room === 'first') member.socket.join('second');
      served.wsApp.wsBroadcast(`${room} is there`, room);
    });
    member.socket.join('first');
    expect(served.plugin.getStats().rooms).toEqual(['first', 'second']);
    expect(await received(member)).toEqual(['second is there', 'first is there']);
  });

  test('of ctx.wsRooms can be taken back, and once is once', async () => {
    const served = await serveRecorded();
    const wsRooms = await wsRoomsOf(served);
    const { socket } = await join(served);
    const calls: string[] = [];
    const listener = (room: string) => calls.push(`on ${room}`);
    wsRooms.on('room:created', listener);
    wsRooms.once('room:created', (room) => calls.push(`once ${room}`));
    socket.join('a');
    socket.join('b');
    wsRooms.off('room:created', listener);
    socket.join('c');
    expect(calls).toEqual(['on a', 'once a', 'on b']);
  });
});

describe('ctx.wsRooms', () => {
  test('broadcasts text and binary to a room, without the one that is excluded', async () => {
    const served = await serveRecorded();
    const wsRooms = await wsRoomsOf(served);
    const [one, two, other] = [
      await join(served, 'room'),
      await join(served, 'room'),
      await join(served),
    ];
    wsRooms.broadcast('room', 'both');
    wsRooms.broadcast('room', Buffer.from('one'), two.socket);
    wsRooms.broadcast('room', 'all', other.socket);
    expect(await received(one)).toEqual(['both', Buffer.from('one'), 'all']);
    expect(await received(two)).toEqual(['both', 'all']);
    expect(await received(other)).toEqual([]);
  });

  test('tells the rooms that have members', async () => {
    const served = await serveRecorded();
    const wsRooms = await wsRoomsOf(served);
    expect(wsRooms.getRooms()).toEqual([]);
    const { socket } = await join(served, 'a', 'b');
    await join(served, 'b', 'c');
    expect(wsRooms.getRooms()).toEqual(['a', 'b', 'c']);
    socket.leave('a');
    expect(wsRooms.getRooms()).toEqual(['b', 'c']);
    expect(served.plugin.getStats().rooms).toEqual(wsRooms.getRooms());
  });

  test('has a list that is the caller’s own', async () => {
    const served = await serveRecorded();
    const wsRooms = await wsRoomsOf(served);
    await join(served, 'a');
    wsRooms.getRooms().push('b');
    expect(wsRooms.getRooms()).toEqual(['a']);
  });

  test.each([
    ['a number as room', [5, 'x'], /room must be a string, got 5/],
    ['no room', [undefined, 'x'], /room must be a string, got undefined/],
    ['no data', ['room'], /data must be .*, got undefined/],
    ['a number as data', ['room', 5], /data must be .*, got 5/],
    ['an id as the excluded', ['room', 'x', 'id'], /exclude must be .*, got "id"/],
    ['null as the excluded', ['room', 'x', null], /exclude must be .*, got null/],
    ['an object as the excluded', ['room', 'x', {}], /exclude must be .*, got /],
  ])('takes no %s: a TypeError says what is accepted', async (_, args, message) => {
    const wsRooms = await wsRoomsOf(await serve());
    const call = () => (wsRooms.broadcast as (...args: unknown[]) => void)(...args);
    expect(call).toThrow(TypeError);
    expect(call).toThrow(message);
  });
});

describe('plugin.rooms', () => {
  test('is ctx.wsRooms, also without an application', async () => {
    const served = await serveRecorded();
    expect(served.plugin.rooms).toBe(await wsRoomsOf(served));
    const { rooms } = new WebSocketPlugin();
    expect([rooms.size, rooms.getRooms(), rooms.members('a'), rooms.count('a')]).toEqual([
      0,
      [],
      [],
      0,
    ]);
    expect(rooms.close('a')).toBe(0);
    rooms.broadcast(['a', 'b'], 'to nobody');
  });

  test('knows who is in a room, how many that are, and how many rooms there are', async () => {
    const served = await serveRecorded();
    const { rooms } = served.plugin;
    const [one, two] = [await join(served, 'a', 'b'), await join(served, 'b')];
    await join(served);
    const members = (room: string) => new Set(rooms.members(room));
    expect(members('a')).toEqual(new Set([one.socket]));
    expect(members('b')).toEqual(new Set([one.socket, two.socket]));
    expect(rooms.members('b')).toHaveLength(2);
    expect(rooms.members('c')).toEqual([]);
    expect(['a', 'b', 'c'].map((room) => rooms.count(room))).toEqual([1, 2, 0]);
    expect(['a', 'b', 'c'].map((room) => rooms.has(room))).toEqual([true, true, false]);
    expect(rooms.size).toBe(2);
    one.socket.leave('a');
    expect([rooms.size, rooms.has('a'), rooms.members('a')]).toEqual([1, false, []]);
    two.client.close();
    await served.ends.next();
    expect([rooms.members('b'), rooms.count('b')]).toEqual([[one.socket], 1]);
  });

  test('has lists that are the caller’s own', async () => {
    const served = await serveRecorded();
    const { rooms } = served.plugin;
    const { socket } = await join(served, 'a');
    rooms.members('a').pop();
    rooms.of(socket).pop();
    expect([rooms.members('a'), rooms.of(socket)]).toEqual([[socket], ['a']]);
  });

  test('has a member that is being closed until it has ended', async () => {
    const { client, socket, ends, plugin } = await rawPair();
    socket.join('a');
    socket.close(4000);
    expect([plugin.rooms.members('a'), plugin.rooms.count('a')]).toEqual([[socket], 1]);
    await client.frame();
    client.write(frame(CLOSE, closePayload(4000)));
    await ends.next();
    expect([plugin.rooms.members('a'), plugin.rooms.count('a')]).toEqual([[], 0]);
  });

  test('knows the rooms of a connection, until it has ended', async () => {
    const served = await serveRecorded();
    const { rooms } = served.plugin;
    const names = ['', 'a\0b', '\ud800', 'räum'];
    const { client, socket } = await join(served, ...names);
    expect(rooms.of(socket).sort()).toEqual([...names].sort());
    socket.leave('');
    expect(rooms.of(socket)).toHaveLength(3);
    const other = await pair();
    other.socket.join('elsewhere');
    expect(rooms.of(other.socket)).toEqual([]);
    expect(other.plugin.rooms.of(socket)).toEqual([]);
    const atEnd = queue<string[]>();
    socket.onClose(() => atEnd.push(rooms.of(socket)));
    client.close();
    expect(await atEnd.next()).toEqual([]);
  });

  test('closes all members of a room, and says how many those are', async () => {
    const served = await serveRecorded();
    const { rooms } = served.plugin;
    const members = [await join(served, 'a'), await join(served, 'a', 'b')];
    const [other, closing] = [await join(served, 'b'), await join(served, 'a')];
    closing.socket.close(4001);
    // What an application has put in its place is not asked.
    for (const { socket } of members) socket.close = () => {};
    expect(rooms.close('a', 4000, 'the room is closed')).toBe(2);
    expect(rooms.close('a')).toBe(0);
    for (const { client } of members) {
      expect(await client.closed).toEqual({ code: 4000, reason: 'the room is closed' });
    }
    expect((await closing.client.closed).code).toBe(4001);
    for (let count = 0; count < 3; count++) await served.ends.next();
    expect(rooms.getRooms()).toEqual(['b']);
    served.wsApp.wsBroadcast('still here', 'b');
    expect(await received(other)).toEqual(['still here']);
    expect(rooms.close('nowhere', 4000)).toBe(0);
    expect(rooms.close('b')).toBe(1);
    expect((await other.client.closed).code).toBe(1000);
  });

  test.each([
    ['members', [5], /^wsRooms.members: room must be a string, got 5/],
    ['count', [], /^wsRooms.count: room must be a string, got undefined/],
    ['has', [['a']], /^wsRooms.has: room must be a string, got /],
    ['of', [{}], /^wsRooms.of: socket must be a WSConnection, got /],
    ['of', [], /^wsRooms.of: socket must be a WSConnection, got undefined/],
    ['close', [null], /^wsRooms.close: room must be a string, got null/],
    ['close', ['a', '1000'], /^wsRooms.close: code must be a number, got "1000"/],
    ['close', ['a', 1000, 5], /^wsRooms.close: reason must be a string, got 5/],
  ] as const)('%s(%j) is a TypeError that says what is accepted', async (method, args, message) => {
    const { plugin, socket } = await pair();
    socket.join('a');
    const call = () => (plugin.rooms[method] as (...args: unknown[]) => void)(...args);
    expect(call).toThrow(TypeError);
    expect(call).toThrow(message);
    expect(socket.isAlive).toBe(true);
  });

  test('closes nobody with a code that may not be sent, or a reason that is too long', async () => {
    const { plugin, socket } = await pair();
    socket.join('a');
    expect(() => plugin.rooms.close('a', 1006)).toThrow(RangeError);
    expect(() => plugin.rooms.close('a', 1006)).toThrow(/^wsRooms.close: code must be/);
    expect(() => plugin.rooms.close('a', 1000, 'x'.repeat(124))).toThrow(
      /^wsRooms.close: reason must be at most 123 bytes/,
    );
    expect(socket.isAlive).toBe(true);
  });
});

describe('a broadcast to several rooms', () => {
  test('reaches who is in any of them, once, and nobody else', async () => {
    const served = await serveRecorded();
    const { rooms } = served.plugin;
    const inside = [
      await join(served, 'a'),
      await join(served, 'b'),
      await join(served, 'a', 'b'),
      await join(served, 'c', 'b', 'a'),
    ];
    const outside = [await join(served), await join(served, 'c')];
    rooms.broadcast(['a', 'b'], 'text');
    rooms.broadcast(['b', 'a', 'nowhere', 'b'], Buffer.from('binary'));
    rooms.broadcast(['nowhere', 'nor here'], 'to nobody');
    rooms.broadcast([], 'to nobody');
    rooms.broadcast(['nowhere', 'c'], 'c');
    const both = ['text', Buffer.from('binary')];
    for (const member of inside.slice(0, 3)) expect(await received(member)).toEqual(both);
    expect(await received(inside[3] as Member)).toEqual([...both, 'c']);
    expect(await received(outside[0] as Member)).toEqual([]);
    expect(await received(outside[1] as Member)).toEqual(['c']);
  });

  test('reaches the members of the moment of the call, and comes in the order of the calls', async () => {
    const served = await serveRecorded();
    const { rooms } = served.plugin;
    const [one, two] = [await join(served, 'a'), await join(served, 'b')];
    rooms.broadcast(['a', 'b'], '1');
    rooms.broadcast(['a', 'b'], '2');
    one.socket.leave('a');
    rooms.broadcast(['a', 'b'], '3');
    two.socket.join('a');
    rooms.broadcast(['a', 'b'], '4');
    rooms.broadcast('a', '5');
    two.socket.send('6');
    one.socket.join('b');
    rooms.broadcast(['a', 'b'], '7');
    expect(await received(one)).toEqual(['1', '2', '7']);
    expect(await received(two)).toEqual(['1', '2', '3', '4', '5', '6', '7']);
  });

  test('may leave out some, of one room as well', async () => {
    const served = await serveRecorded();
    const { rooms } = served.plugin;
    const members: Member[] = [];
    for (let index = 0; index < 6; index++) {
      members.push(await join(served, ...(index % 2 === 0 ? ['a'] : ['a', 'b'])));
    }
    const sockets = members.map(({ socket }) => socket);
    const [first, second, third] = sockets as [WSConnection, WSConnection, WSConnection];
    const stranger = await pair();
    rooms.broadcast('a', 'not 0', { except: first });
    rooms.broadcast('a', 'not 0, 1, 2', { except: [second, first, third, first] });
    rooms.broadcast(['a', 'b'], 'not 1', { except: [second] });
    rooms.broadcast(['a', 'b'], 'not 2', third);
    rooms.broadcast(['a', 'b'], 'to all', { except: [] });
    rooms.broadcast('a', 'to all', { except: undefined });
    rooms.broadcast(['a', 'b'], 'to all', { except: [stranger.socket, stranger.socket] });
    rooms.broadcast('a', 'to nobody', { except: sockets });
    const expected = [
      ['not 1', 'not 2'],
      ['not 0', 'not 2'],
      ['not 0', 'not 1'],
      ['not 0', 'not 0, 1, 2', 'not 1', 'not 2'],
    ];
    for (const [index, member] of members.entries()) {
      const mine = expected[Math.min(index, 3)] as string[];
      expect(await received(member)).toEqual([...mine, 'to all', 'to all', 'to all']);
    }
  });

  test('leaves out nobody in the place of one that has ended', async () => {
    const served = await serveRecorded();
    const gone = await join(served, 'a');
    gone.client.close();
    await served.ends.next();
    const members = [await join(served, 'a'), await join(served, 'a')];
    const [one] = members as [Member];
    served.plugin.rooms.broadcast('a', 'hello', { except: [gone.socket] });
    served.plugin.rooms.broadcast('a', 'not one', { except: [gone.socket, one.socket] });
    expect(await received(one)).toEqual(['hello']);
    expect(await received(members[1] as Member)).toEqual(['hello', 'not one']);
  });

  test('goes by what the lists hold once they have been read, whatever reading them does', async () => {
    const served = await serveRecorded();
    const [one, two] = [await join(served, 'a'), await join(served, 'b')];
    const options = {
      get except() {
        two.socket.leave('b');
        two.socket.join('a');
        return undefined;
      },
    };
    served.plugin.rooms.broadcast(['a', 'c'], 'hello', options);
    for (const member of [one, two]) expect(await received(member)).toEqual(['hello']);
    const throws = {
      get except(): undefined {
        throw new Error('not today');
      },
    };
    expect(() => served.plugin.rooms.broadcast('a', 'x', throws)).toThrow('not today');
    expect(await received(one)).toEqual([]);
  });

  test('takes thousands of rooms and members', async () => {
    const served = await serveRecorded();
    const names = Array.from({ length: 2000 }, (_, index) => `room ${index}`);
    const members = [await join(served, ...names), await join(served, ...names.slice(1000))];
    served.plugin.rooms.broadcast(names, 'hello');
    served.plugin.rooms.broadcast(names.slice(0, 1000), 'to one');
    expect(await received(members[0] as Member)).toEqual(['hello', 'to one']);
    expect(await received(members[1] as Member)).toEqual(['hello']);
  });

  test('reaches everyone once over several I/O threads', async () => {
    const served = await serveRecorded({ ioThreads: 3 });
    const members: Member[] = [];
    for (let index = 0; index < 7; index++) {
      members.push(await join(served, 'a', ...(index % 3 === 0 ? ['b'] : [])));
    }
    const except = members.slice(0, 2).map(({ socket }) => socket);
    served.plugin.rooms.broadcast(['b', 'a'], 'all');
    served.plugin.rooms.broadcast(['b', 'a'], 'some', { except });
    for (const [index, member] of members.entries()) {
      expect(await received(member)).toEqual(index < 2 ? ['all'] : ['all', 'some']);
    }
  });

  test.each([
    ['a number among the rooms', [['a', 5], 'x'], /room\[1\] must be a string, got 5/],
    ['a hole among the rooms', [new Array(1), 'x'], /room\[0\] must be a string, got undefined/],
    ['a Set as rooms', [new Set(['a']), 'x'], /room must be a string, got .*array of strings/],
    ['no data', [['a', 'b']], /data must be .*, got undefined/],
    ['a number as except', ['a', 'x', { except: 5 }], /except must be a WSConnection or an array/],
    ['null as except', ['a', 'x', { except: null }], /except must be .*, got null/],
    ['an id among them', ['a', 'x', { except: ['id'] }], /except\[0\] must be a WSConnection, got/],
    ['an array as exclude', ['a', 'x', []], /exclude must be .*, got /],
    ['other options', ['a', 'x', { except: [], exept: [] }], /unknown option "exept"; accepted is/],
  ])('takes no %s: a TypeError says what is accepted', async (_, args, message) => {
    const served = await serveRecorded();
    const member = await join(served, 'a', 'b');
    const { rooms } = served.plugin;
    const call = () => (rooms.broadcast as (...args: unknown[]) => void)(...args);
    expect(call).toThrow(TypeError);
    expect(call).toThrow(message);
    expect(await received(member)).toEqual([]);
  });
});

describe('many', () => {
  test('twenty broadcasts to a thousand members reach all of them once and in order', async () => {
    const served = await serveRecorded({}, (socket) => socket.join('crowd'));
    const clients: Client[] = [];
    while (clients.length < 1000) {
      const wave = Array.from({ length: 100 }, () => connect(served.url()));
      clients.push(...(await Promise.all(wave)));
    }
    const sent = Array.from({ length: 20 }, (_, index) => `broadcast ${index}`);
    for (const [index, text] of sent.entries()) {
      served.wsApp.wsBroadcast(text, 'crowd');
      if (index % 5 === 4) await new Promise((resolve) => setImmediate(resolve));
    }
    served.wsApp.wsBroadcast('marker');
    for (const client of clients) {
      const messages = [];
      for (let message = ''; message !== 'marker'; messages.push(message)) {
        message = (await client.next()) as string;
      }
      expect(messages).toEqual([...sent, 'marker']);
      expect(client.waiting).toEqual([]);
    }
    expect(served.plugin.getStats().messagesSent).toBe(21_000);
  });

  test('direct sends, broadcasts and pongs to many leave in the order of the calls', async () => {
    const served = await serveRecorded();
    const members: Member[] = [];
    for (let index = 0; index < 50; index++) members.push(await join(served, 'room'));
    const expected: string[][] = members.map(() => []);
    for (let round = 0; round < 40; round++) {
      const text = `round ${round}`;
      if (round % 3 !== 0) {
        served.wsApp.wsBroadcast(text, 'room');
        for (const messages of expected) messages.push(text);
      }
      members.forEach(({ socket }, index) => {
        if ((index + round) % 4 !== 0) return;
        socket.send(`${text} for ${index}`);
        expected[index]?.push(`${text} for ${index}`);
      });
      members[round]?.socket.broadcast('room', `${text} from ${round}`);
      expected.forEach((messages, index) => {
        if (index !== round) messages.push(`${text} from ${round}`);
      });
      if (round % 10 === 9) await new Promise((resolve) => setImmediate(resolve));
    }
    for (const [index, member] of members.entries()) {
      expect(await received(member)).toEqual(expected[index]);
    }
  });

  test('a member that does not read does not hold up the others', async () => {
    const served = await serveRecorded({ maxBackpressure: Number.POSITIVE_INFINITY });
    const deaf = await rawUpgrade(served.port);
    deaf.socket.pause();
    (await served.sockets.next()).join('room');
    const member = await join(served, 'room');
    const piece = 'x'.repeat(1 << 20);
    for (let index = 0; index < 20; index++) {
      served.wsApp.wsBroadcast(piece, 'room');
      expect(await member.client.next()).toHaveLength(1 << 20);
    }
    member.client.send('and back');
    expect(await served.messages.next()).toBe('and back');
  });

  test('messages of members are broadcast to the room as in the reference', async () => {
    const served = await serveRecorded({}, (socket) => {
      socket.join('general');
      socket.onMessage((data) => served.wsApp.wsBroadcast(data.toString(), 'general'));
    });
    const members = [await join(served), await join(served), await join(served)];
    for (const [index, { client }] of members.entries()) {
      client.send(`from ${index}`);
      for (const member of members) expect(await member.client.next()).toBe(`from ${index}`);
    }
    const raw = await rawUpgrade(served.port);
    raw.write(frame(TEXT, 'from outside'));
    for (const { client } of members) expect(await client.next()).toBe('from outside');
  });
});
