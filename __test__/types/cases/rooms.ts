import type { WSConnection, WSRoomManager } from '../../../index.js';
import type { Same } from '../fixtures/same.js';

declare const rooms: WSRoomManager;
declare const socket: WSConnection;

const broadcast: Same<
  WSRoomManager['broadcast'],
  (room: string, data: string | Buffer, exclude?: WSConnection) => void
> = true;
const getRooms: Same<WSRoomManager['getRooms'], () => string[]> = true;

rooms.broadcast('room', 'text');
rooms.broadcast('room', Buffer.from('bytes'), socket);
// @ts-expect-error excludes a connection, not its id
rooms.broadcast('room', 'text', socket.id);
// @ts-expect-error to a room, always
rooms.broadcast('text');

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

export { broadcast, getRooms };
