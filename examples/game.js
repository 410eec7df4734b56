/**
 * The reference's game with rooms, played as tic-tac-toe: the first two players of a game take X
 * and O, everyone after them watches. Cells are counted from 0, row by row.
 *
 *   node examples/game.js
 *   npx wscat -c 'ws://localhost:3000/game/one?playerId=ada'
 *   > {"type":"move","move":{"cell":4}}
 */

import { WebSocketPlugin, withWebSocket } from '../index.mjs';
import { createApp } from './host/index.js';
import { launch, startIfMain } from './launch.js';

/** @param {import('./launch.js').StartOptions} [options] */
export async function start(options) {
  const app = createApp();

  const wsPlugin = new WebSocketPlugin({
    path: '/game/*',
    maxConnections: 5000,
  });

  wsPlugin.install(app);
  const wsApp = withWebSocket(app);

  // Game state storage
  const games = new Map();

  // Game WebSocket handler
  wsApp.ws('/game/:gameId', (socket) => {
    const url = new URL(socket.url, 'http://localhost');
    const gameId = url.pathname.split('/')[2];
    const playerId = url.searchParams.get('playerId');

    if (!playerId) {
      socket.close(1008, 'Player ID required');
      return;
    }

    // Join game room
    socket.join(`game:${gameId}`);

    // Initialize game if needed
    if (!games.has(gameId)) {
      games.set(gameId, {
        players: new Set(),
        state: 'waiting',
        board: initializeBoard(),
      });
    }

    const game = games.get(gameId);
    game.players.add(playerId);

    // Send game state to player
    socket.send(
      JSON.stringify({
        type: 'game_state',
        state: game.state,
        board: game.board,
        players: Array.from(game.players),
      }),
    );

    // Notify other players
    wsApp.wsBroadcast(
      JSON.stringify({
        type: 'player_joined',
        playerId,
        playerCount: game.players.size,
      }),
      `game:${gameId}`,
    );

    // Handle game moves
    socket.onMessage((data) => {
      const message = JSON.parse(data.toString());

      switch (message.type) {
        case 'move':
          if (validateMove(game, playerId, message.move)) {
            applyMove(game, message.move);

            // Broadcast move to all players
            wsApp.wsBroadcast(
              JSON.stringify({
                type: 'move_made',
                playerId,
                move: message.move,
                board: game.board,
              }),
              `game:${gameId}`,
            );

            // Check for game over
            const winner = checkWinner(game);
            if (winner) {
              wsApp.wsBroadcast(
                JSON.stringify({
                  type: 'game_over',
                  winner,
                  finalBoard: game.board,
                }),
                `game:${gameId}`,
              );
            }
          } else {
            socket.send(
              JSON.stringify({
                type: 'invalid_move',
                reason: 'Move not allowed',
              }),
            );
          }
          break;

        case 'chat':
          // Game chat
          wsApp.wsBroadcast(
            JSON.stringify({
              type: 'chat_message',
              playerId,
              message: message.text,
              timestamp: Date.now(),
            }),
            `game:${gameId}`,
          );
          break;
      }
    });

    // Handle player disconnect
    socket.onClose(() => {
      game.players.delete(playerId);

      // Notify remaining players
      wsApp.wsBroadcast(
        JSON.stringify({
          type: 'player_left',
          playerId,
          playerCount: game.players.size,
        }),
        `game:${gameId}`,
      );

      // Cleanup empty games
      if (game.players.size === 0) {
        games.delete(gameId);
      }
    });
  });

  return launch(app, wsPlugin, options);
}

// The rules of tic-tac-toe

const LINES = [
  [0, 1, 2],
  [3, 4, 5],
  [6, 7, 8],
  [0, 3, 6],
  [1, 4, 7],
  [2, 5, 8],
  [0, 4, 8],
  [2, 4, 6],
];

/** Who plays X and O in a game. They keep their seats when they leave and come back. */
const seatsByGame = new WeakMap();

function seatsOf(game) {
  if (!seatsByGame.has(game) && game.players.size >= 2) {
    seatsByGame.set(game, Array.from(game.players).slice(0, 2));
  }
  return seatsByGame.get(game) ?? [];
}

/** 0 where X has to move, 1 for O. */
function turn(game) {
  return game.board.filter(Boolean).length % 2;
}

function initializeBoard() {
  return Array(9).fill(null);
}

function validateMove(game, playerId, move) {
  const isOver = Boolean(checkWinner(game));
  return !isOver && seatsOf(game)[turn(game)] === playerId && game.board[move?.cell] === null;
}

function applyMove(game, move) {
  game.board[move.cell] = 'XO'[turn(game)];
  game.state = checkWinner(game) ? 'finished' : 'playing';
}

/** `X`, `O`, `draw`, or `null` while the game goes on. */
function checkWinner(game) {
  for (const [a, b, c] of LINES) {
    const mark = game.board[a];
    if (mark && mark === game.board[b] && mark === game.board[c]) return mark;
  }
  return game.board.includes(null) ? null : 'draw';
}

await startIfMain(import.meta, start);
