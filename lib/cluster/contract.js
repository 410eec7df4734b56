'use strict';

/** What has to hold whatever carries messages between servers. `contract.d.ts` documents it. */

const { deepStrictEqual, ok } = require('node:assert/strict');
const { randomBytes } = require('node:crypto');

const { wrongType } = require('../check.js');
const { startContractNode } = require('./contract/node.js');
const { Team } = require('./contract/team.js');

/** So long a test waits for something that does not come, in milliseconds. */
const LIMIT_MS = 20_000;

/** Of each node, where order is looked at. */
const MESSAGES = 1000;

const everyByte = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));

const ROOMS = {
  'the empty name': '',
  'a name with points': 'a.b.c',
  'a name of points alone': '..',
  'a wildcard': '*',
  'a wildcard for the rest': '>',
  'wildcards in a name': 'a.*.>',
  'a pattern': 'a?[b-c]\\*',
  'a name with spaces and line ends': ' a b\t\r\nPUB x 1\r\n',
  'a name with braces': '{a}.{b}',
  'a name with slashes': '/a/#/+/$SYS',
  'a name in small letters': 'room',
  'the same in capitals': 'ROOM',
  'a name whose Base64 differs from that of the next': 'aaa',
  'in capitals alone': 'aaG',
  'every character of one byte': everyByte.toString('latin1'),
  'characters of several bytes': 'ü€🦀\u{10ffff}',
  'half a surrogate pair': '\ud83e',
  'the other half': '\udd80',
  'the character in the place of both': '\ufffd',
  'a name of 65,536 characters': 'x'.repeat(65_536),
  'another one, which ends differently': `${'x'.repeat(65_535)}y`,
  'three bytes for each of 65,536 characters': '€'.repeat(65_536),
};

const TESTS = {
  async 'a broadcast in a room reaches its members on all nodes, once'({ team }) {
    const [a, b, c] = [await team.add(), await team.add(), await team.add()];
    const members = [];
    for (const server of [a, b, c]) {
      for (const number of [1, 2]) members.push(await server.member(`${number}`, 'room'));
    }
    const elsewhere = await b.member('elsewhere', 'another room');
    await team.reach('room', members);
    await team.reach('another room', [elsewhere]);
    for (const server of [a, b, c]) {
      await server.broadcast('room', `first of ${server.name}`, `second of ${server.name}`);
      for (const member of members) {
        await member.hears(`first of ${server.name}`, `second of ${server.name}`);
      }
    }
    await c.broadcast('another room', 'elsewhere');
    await elsewhere.hears('elsewhere');
    for (const member of members) deepStrictEqual(member.messages.rest(), []);
  },

  async 'who sends is left out, and others on its node get it once'({ team }) {
    const [a, b] = [await team.add(), await team.add()];
    const [sender, beside] = [await a.member('sender', 'room'), await a.member('beside', 'room')];
    const across = await b.member('across', 'room');
    await team.reach('room', [sender, beside, across]);
    await sender.say('room', 'one', 'two');
    for (const member of [beside, across]) await member.hears('one', 'two');
    await across.say('room', 'back');
    for (const member of [sender, beside]) await member.hears('back');
    for (const member of [sender, beside, across]) deepStrictEqual(member.messages.rest(), []);
  },

  async 'a broadcast to everyone reaches those in no room as well, once'({ team }) {
    const [a, b, c] = [await team.add(), await team.add(), await team.add()];
    const members = [
      await a.member('in a room', 'room'),
      await b.member('in none'),
      await c.member('in two', 'room', 'another room'),
    ];
    await team.reach(null, members);
    for (const server of [a, b, c]) {
      await server.broadcast(null, `one of ${server.name}`, `two of ${server.name}`);
      for (const member of members) {
        await member.hears(`one of ${server.name}`, `two of ${server.name}`);
      }
    }
    for (const member of members) deepStrictEqual(member.messages.rest(), []);
  },

  async 'a broadcast in several rooms reaches who is in any of them on all nodes, once and in order'({
    team,
  }) {
    const [a, b, c] = [await team.add(), await team.add(), await team.add()];
    const members = [
      await a.member('in both', 'room', 'another room'),
      await a.member('in one', 'room'),
      await b.member('in both', 'another room', 'room', 'a third room'),
      await c.member('in the other', 'another room'),
    ];
    const others = [await b.member('elsewhere', 'a third room'), await c.member('nowhere')];
    const everyone = [...members, ...others];
    await team.reach(null, everyone);
    const rooms = ['room', 'a room without members', 'another room'];
    for (const server of [a, b, c]) {
      const texts = Array.from({ length: MESSAGES }, (_, n) => `${server.name} ${n}`);
      await server.broadcast(rooms, ...texts);
      // Takes the same way, so it comes behind them.
      await server.broadcast(null, `end of ${server.name}`);
      for (const member of members) await member.hears(...texts, `end of ${server.name}`);
      for (const other of others) await other.hears(`end of ${server.name}`);
    }
    for (const member of everyone) deepStrictEqual(member.messages.rest(), []);
    for (const server of [a, b, c]) deepStrictEqual(server.gaps(), []);
  },

  async 'text stays text, and bytes stay bytes'({ team }) {
    const [a, b] = [await team.add(), await team.add()];
    const [sender, across] = [await a.member('sender', 'room'), await b.member('across', 'room')];
    await team.reach('room', [across]);
    const messages = ['', 'text', 'ü€🦀\u0000', Buffer.alloc(0), everyByte, Buffer.from('text')];
    await sender.say('room', ...messages);
    await across.hears(...messages);
  },

  async 'what a node says in a room arrives in order, however much it is'({ team }) {
    const [a, b, c] = [await team.add(), await team.add(), await team.add()];
    const listeners = [await a.member('on a', 'room'), await c.member('on c', 'room')];
    await team.reach('room', listeners);
    const said = (server) => Array.from({ length: MESSAGES }, (_, n) => `${server.name} ${n}`);
    await Promise.all([a, b].map((server) => server.broadcast('room', ...said(server))));
    for (const { messages } of listeners) {
      await messages.until(() => messages.all.length > 2 * MESSAGES);
      const heard = messages.rest();
      for (const server of [a, b]) {
        deepStrictEqual(
          heard.filter((text) => text.startsWith(server.name)),
          said(server),
        );
      }
    }
  },

  async 'rooms are told apart, whatever they are called'({ team }) {
    const [a, b] = [await team.add(), await team.add()];
    const members = new Map();
    for (const [name, room] of Object.entries(ROOMS)) {
      members.set(name, await b.member(name, room));
    }
    for (const [name, room] of Object.entries(ROOMS)) await team.reach(room, [members.get(name)]);
    for (const [name, room] of Object.entries(ROOMS)) await a.broadcast(room, name);
    for (const [name, member] of members) await member.hears(name);
    for (const member of members.values()) deepStrictEqual(member.messages.rest(), []);
  },

  async 'a room that was left is not heard, and one that is joined again is'({ team }) {
    const [a, b] = [await team.add(), await team.add()];
    const member = await b.member('comes and goes', 'witness');
    await team.reach('witness', [member]);
    const { subscriptions } = await b.ask('stats');
    await member.join('room');
    await team.reach('room', [member]);
    await a.broadcast('room', 'while it is there');
    await member.hears('while it is there');
    await member.leave('room');
    await a.broadcast('room', 'to nobody');
    // Which takes some seconds, as it may well come back.
    await polled(async () => {
      const stats = await b.ask('stats');
      return stats.subscriptions === subscriptions;
    }, 'the room is not left');
    await team.reach('witness', [member]);
    deepStrictEqual(member.messages.rest(), []);
    for (let count = 0; count < 20; count += 1) {
      await member.join('room');
      await member.leave('room');
    }
    await member.join('room');
    await team.reach('room', [member]);
    await a.broadcast('room', 'back for good');
    await member.hears('back for good');
  },

  async 'a message may be as long as maxMessageSize'({ team }) {
    const [a, b] = [await team.add(), await team.add()];
    const [sender, across] = [await a.member('sender', 'room'), await b.member('across', 'room')];
    await team.reach('room', [across]);
    const size = 1 << 20;
    const messages = [
      'x'.repeat(size),
      Buffer.alloc(size, everyByte),
      'short',
      '€'.repeat(Math.floor(size / 3)),
    ];
    await sender.say('room', ...messages);
    for (const message of messages) ok(same(await across.next(), message), 'a message differs');
  },

  async 'nodes with different prefixes do not hear each other'({ team, prefix }) {
    const [a, b] = [await team.add(), await team.add()];
    const others = [await team.add(`${prefix}x`), await team.add(`${prefix}x`)];
    const ours = [await a.member('on a', 'room'), await b.member('on b', 'room')];
    const theirs = [];
    for (const server of others) theirs.push(await server.member(`on ${server.name}`, 'room'));
    await team.reach('room', ours, [a, b]);
    await team.reach('room', theirs, others);
    await team.reach(null, ours, [a, b]);
    await team.reach(null, theirs, others);
    await a.broadcast('room', 'ours');
    await a.broadcast(null, 'ours');
    await others[0].broadcast('room', 'theirs');
    await others[0].broadcast(null, 'theirs');
    for (const member of ours) await member.hears('ours', 'ours');
    for (const member of theirs) await member.hears('theirs', 'theirs');
    await team.reach('room', ours, [a, b]);
    await team.reach('room', theirs, others);
    for (const member of [...ours, ...theirs]) {
      deepStrictEqual(member.messages.rest(), []);
      for (const name of member.probes) {
        const isOurs = ours.includes(member);
        deepStrictEqual(name === 'A' || name === 'B', isOurs, `${member.name} hears ${name}`);
      }
    }
  },

  async 'a node that is cleaned up says goodbye, and the others go on'({ team }) {
    const [a, b, c] = [await team.add(), await team.add(), await team.add()];
    const [onA, onB] = [await a.member('on a', 'room'), await b.member('on b', 'room')];
    await c.member('on c', 'room');
    await team.reach('room', [onA, onB]);
    await c.broadcast('room', 'the last words');
    await c.close();
    team.servers.pop();
    for (const member of [onA, onB]) await member.hears('the last words');
    for (const server of [a, b]) {
      let nodes = 2;
      // It is forgotten a few seconds after it has said goodbye.
      await polled(async () => {
        ({ nodes } = await server.ask('stats'));
        return nodes === 1;
      }, 'the node that is gone is still counted');
      deepStrictEqual(server.gaps(), []);
    }
    await a.broadcast('room', 'still here');
    for (const member of [onA, onB]) await member.hears('still here');
  },
};

/** Only where an adapter's author says how to interrupt it. */
const INTERRUPTION = {
  async 'an interruption is told of, and so is every message that it has cost'({
    team,
    interrupt,
  }) {
    const servers = [await team.add(), await team.add(), await team.add()];
    const members = [];
    for (const server of servers) members.push(await server.member(`on ${server.name}`, 'room'));
    await team.reach('room', members);
    const before = servers.map((server) => server.events.all.length);
    const [a] = servers;
    const said = [];
    const say = async (text) => {
      said.push(text);
      await a.broadcast('room', text);
    };
    await say('before');
    await interrupt(async () => {
      for (const [index, server] of servers.entries()) {
        const reason = await server.event('cluster:down', before[index]);
        ok(typeof reason === 'string' && reason.length > 0, 'there is no reason');
      }
      for (const state of await Promise.all(servers.map((server) => server.ask('stats')))) {
        deepStrictEqual(state.state, 'down');
      }
      for (let count = 0; count < 10; count += 1) await say(`meanwhile ${count}`);
      // Those on the same node do not wait for anything.
      await members[0].hears(...said);
    });
    for (const [index, server] of servers.entries()) {
      await server.event('cluster:up', before[index]);
    }
    await team.reach('room', members);
    await say('after');
    await members[0].hears('after');
    for (const member of members.slice(1)) {
      const index = servers.indexOf(member.server);
      const { messages } = member;
      await messages.until(() => messages.all.at(-1) === 'after');
      const heard = messages.rest();
      deepStrictEqual(
        heard,
        said.filter((text) => heard.includes(text)),
      );
      const missing = said.length - heard.length;
      // Heartbeats tell of what is missing at an end.
      await member.server.events.until(() => isToldOf(missing, servers[index].gaps(before[index])));
    }
  },
};

/** Whether gaps tell that so many messages of a room, at least, are missing. */
function isToldOf(missing, gaps) {
  const told = gaps.filter(({ room }) => room === null || room === 'room');
  if (told.some(({ missed }) => missed === null)) return true;
  return told.reduce((sum, { missed }) => sum + missed, 0) >= missing;
}

function same(heard, said) {
  if (typeof heard === 'string' || typeof said === 'string') return heard === said;
  return Buffer.compare(heard, said) === 0;
}

async function polled(isSo, otherwise) {
  const deadline = Date.now() + LIMIT_MS;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(otherwise);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function clusterContract(options) {
  const { test, cluster, start, interrupt, limitMs = LIMIT_MS } = options ?? {};
  if (typeof test !== 'function') throw wrongType('clusterContract', 'test', 'a function', test);
  if ((typeof cluster === 'function') === (typeof start === 'function')) {
    throw new TypeError('clusterContract: one of cluster and start must be a function');
  }
  if (interrupt !== undefined && typeof interrupt !== 'function') {
    throw wrongType('clusterContract', 'interrupt', 'a function', interrupt);
  }
  const starting = start ?? (async (node) => startContractNode({ cluster: await cluster(node) }));
  const tests = interrupt === undefined ? TESTS : { ...TESTS, ...INTERRUPTION };
  for (const [name, run] of Object.entries(tests)) {
    test(name, async () => {
      const prefix = `contract-${randomBytes(6).toString('hex')}`;
      const team = new Team({ start: starting, limitMs }, prefix);
      try {
        await run({ team, prefix, interrupt });
      } finally {
        await team.close();
      }
    });
  }
}

module.exports = { clusterContract, startContractNode };
