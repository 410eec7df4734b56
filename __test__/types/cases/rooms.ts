import type { WSBroadcastOptions, WSConnection, WSRoomManager, WSSocket } from '../../../index.js';
import type { Same } from '../fixtures/same.js';

declare const rooms: WSRoomManager;
declare const socket: WSConnection;

// As the reference has it, which is the last of the signatures.
const broadcast: Same<
  Parameters<WSRoomManager['broadcast']>,
  [room: string, data: string | Buffer, exclude?: WSConnection]
> = true;
const asDocumented: (room: string, data: string | Buffer, exclude?: WSConnection) => void =
  rooms.broadcast;
const getRooms: Same<WSRoomManager['getRooms'], () => string[]> = true;

rooms.broadcast('room', 'text');
rooms.broadcast('room', Buffer.from('bytes'), socket);
// @ts-expect-error excludes a connection, not its id
rooms.broadcast('room', 'text', socket.id);
// @ts-expect-error to a room, always
rooms.broadcast('text');

// To several rooms, and without some.
const readonlyRooms: readonly string[] = ['a', 'b'];
rooms.broadcast(readonlyRooms, 'text');
rooms.broadcast(['a', 'b'], Buffer.from('bytes'), socket);
rooms.broadcast('room', 'text', { except: socket });
rooms.broadcast(['a'], 'text', { except: [socket, socket] as readonly WSConnection[] });
rooms.broadcast('room', 'text', { except: undefined });
rooms.broadcast('room', 'text', undefined as WSConnection | WSBroadcastOptions | undefined);
// @ts-expect-error rooms have names
rooms.broadcast(['a', 5], 'text');
// @ts-expect-error nobody is left out by an id
rooms.broadcast('room', 'text', { except: socket.id });
// @ts-expect-error no such option
rooms.broadcast('room', 'text', { exept: [socket] });

const members: Same<ReturnType<WSRoomManager['members']>, WSSocket[]> = true;
const numbers: number[] = [rooms.size, rooms.count('room'), rooms.close('room', 4000, 'reason')];
const names: string[] = rooms.has('room') ? rooms.of(socket) : [];
rooms.close('room');
rooms.close('room', undefined, undefined);
// @ts-expect-error cannot be set
rooms.size = 0;
// @ts-expect-error of a connection, not of its id
rooms.of(socket.id);

const onCreated = (room: string) => room.trim();
rooms
  .on('room:created', (room) => {
    const same: Same<typeof room, string> = true;
    return same;
  })
  .once('room:destroyed', onCreated)
  .off('room:created', onCreated);
// @ts-expect-error no such event
rooms.on('room:joined', onCreated);
// @ts-expect-error a room is told by its name
rooms.on('room:created', (room: number) => room);

export { asDocumented, broadcast, getRooms, members, names, numbers };
