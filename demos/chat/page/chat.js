import { byId, connect, element, hueOf } from '/connection.js';

const MESSAGES_SHOWN = 300;
/** Somebody is said to be typing for so long after the last sign of it. */
const TYPING_MS = 2500;

const log = byId('log');
const messages = byId('messages');
const text = byId('text');

// Per tab, so that two of them can be two people.
let name = sessionStorage.getItem('name') ?? `Guest ${Math.floor(Math.random() * 900) + 100}`;
let room = location.hash.slice(1) || 'lobby';
/** The last message shown: after an outage, the server sends those behind it. */
let lastId = 0;
let lastFrom = '';
const typing = new Map();

const connection = connect(
  () => `/chat/${encodeURIComponent(room)}?${new URLSearchParams({ name, since: String(lastId) })}`,
  {
    onState(words, isOpen) {
      byId('state').textContent = words;
      byId('state').toggleAttribute('data-open', isOpen);
      byId('send').disabled = !isOpen;
    },
    onMessage(message) {
      if (message.type === 'welcome') {
        showPeople(message.people);
        showRooms(message.rooms);
        message.said.forEach(show);
      } else if (message.type === 'said') show(message);
      else if (message.type === 'here') showPeople(message.people);
      else if (message.type === 'rooms') showRooms(message.rooms);
      else if (message.type === 'typing') showTyping(message.name);
    },
  },
);

function show({ id, from, text, at }) {
  if (id <= lastId) return;
  lastId = id;
  typing.delete(from);
  showWhoTypes();

  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  const isFirst = from !== lastFrom;
  lastFrom = from;
  const item = element('li', isFirst ? 'first' : '');
  const body = element('div', 'body');
  if (isFirst) {
    const line = element('div', 'from', from);
    const time = element('time', '', new Date(at).toLocaleTimeString([], { timeStyle: 'short' }));
    time.dateTime = new Date(at).toISOString();
    line.append(time);
    item.append(faceOf(from));
    body.append(line);
  }
  body.append(element('p', 'text', text));
  item.append(body);
  messages.append(item);
  while (messages.children.length > MESSAGES_SHOWN) messages.firstElementChild.remove();
  byId('empty').hidden = true;
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function faceOf(who) {
  const face = element('span', 'face', [...who][0]?.toUpperCase());
  face.style.setProperty('--hue', hueOf(who));
  face.ariaHidden = 'true';
  return face;
}

function showPeople(people) {
  byId('people').replaceChildren(
    ...people.map((who) => {
      const item = element('li');
      item.append(faceOf(who), who === name ? `${who} (you)` : who);
      return item;
    }),
  );
}

function showRooms(rooms) {
  byId('rooms').replaceChildren(
    ...rooms.map(({ name: each, people }) => {
      const item = element('li');
      const button = element('button', '', each);
      button.type = 'button';
      if (each === room) button.ariaCurrent = 'true';
      button.append(element('span', 'count', people || ''));
      button.addEventListener('click', () => enter(each));
      item.append(button);
      return item;
    }),
  );
}

function showTyping(who) {
  clearTimeout(typing.get(who));
  const forget = () => {
    typing.delete(who);
    showWhoTypes();
  };
  typing.set(who, setTimeout(forget, TYPING_MS));
  showWhoTypes();
}

function showWhoTypes() {
  const [first, ...others] = typing.keys();
  const many = others.length > 0 ? ` and ${others.length} more are` : ' is';
  byId('typing').textContent = first === undefined ? '' : `${first}${many} typing…`;
}

function enter(other) {
  if (other === room) return;
  room = other;
  history.replaceState(null, '', `#${room}`);
  begin();
}

/** Another room, or another name: what is shown comes anew. */
function begin() {
  lastId = 0;
  lastFrom = '';
  typing.clear();
  showWhoTypes();
  messages.replaceChildren();
  byId('empty').hidden = false;
  showMe();
  connection.renew();
}

function showMe() {
  byId('room').textContent = room;
  byId('rename').textContent = name;
  document.title = `#${room} · NextRush chat`;
}

byId('rename').addEventListener('click', () => {
  const wanted = prompt('Your name', name)?.trim().slice(0, 24);
  if (!wanted || wanted === name) return;
  name = wanted;
  sessionStorage.setItem('name', name);
  begin();
});

let toldAt = 0;
text.addEventListener('input', () => {
  if (text.value === '' || Date.now() - toldAt < TYPING_MS / 2) return;
  toldAt = Date.now();
  connection.send({ type: 'typing' });
});

byId('form').addEventListener('submit', (event) => {
  event.preventDefault();
  if (text.value.trim() === '' || !connection.send({ type: 'say', text: text.value })) return;
  text.value = '';
  toldAt = 0;
  text.focus();
});

addEventListener('hashchange', () => enter(location.hash.slice(1) || 'lobby'));
showMe();
