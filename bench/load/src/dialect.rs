//! What a server speaks on top of WebSocket: nothing, or Socket.IO.
//!
//! Socket.IO packs text into packets of two protocols, one inside the other: Engine.IO 4 puts one
//! digit in front (`0` open, `2` ping, `3` pong, `4` message), and Socket.IO 5 another (`0` connect,
//! `2` event) with a namespace and JSON behind it. The paths of the other servers are namespaces
//! here, and each message is an event named `m` with one string.

use clap::ValueEnum;

/// What is spoken on top of WebSocket.
#[derive(Clone, Copy, PartialEq, Debug, ValueEnum)]
pub enum Dialect {
    /// A message of the scenario is a message of WebSocket
    Plain,
    /// Engine.IO 4 and Socket.IO 5
    SocketIo,
}

/// What a packet of Engine.IO asks of a client.
#[derive(PartialEq, Debug)]
pub enum Packet {
    /// The server has opened its side: now the namespace can be asked for.
    Open,
    /// The namespace has let the client in.
    Joined,
    /// A ping, to be answered with [`Packet::PONG`].
    Ping,
    /// Anything else: a message of the scenario, or a mistake.
    Other,
}

impl Packet {
    /// The answer to a ping.
    pub const PONG: &[u8] = b"3";

    /// Reads as much of a packet as tells which one it is.
    pub fn of(payload: &[u8]) -> Self {
        match payload {
            b"2" => Self::Ping,
            [b'0', ..] => Self::Open,
            [b'4', b'0', ..] => Self::Joined,
            _ => Self::Other,
        }
    }
}

impl Dialect {
    /// Where the upgrade request goes that is to lead to this path.
    pub fn request_path(self, path: &str) -> &str {
        match self {
            Self::Plain if path.is_empty() => "/",
            Self::Plain => path,
            Self::SocketIo => "/socket.io/?EIO=4&transport=websocket",
        }
    }

    /// The packet that asks for a namespace.
    pub fn join(namespace: &str) -> Vec<u8> {
        format!("40{namespace},").into_bytes()
    }

    /// A message of the scenario as the text that goes over WebSocket. Socket.IO makes JSON of it:
    /// double quotes become single ones, so that it is the same text inside a JSON string.
    pub fn event(self, namespace: &str, text: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => text.to_vec(),
            Self::SocketIo => {
                let text = String::from_utf8_lossy(text).replace('"', "'");
                format!(r#"42{namespace},["m","{text}"]"#).into_bytes()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_an_event_as_json_that_needs_no_escapes() {
        let event = Dialect::SocketIo.event("/echo", br#"{"id":1}"#);
        assert_eq!(event, br#"42/echo,["m","{'id':1}"]"#);
        assert_eq!(Dialect::Plain.event("/echo", br#"{"id":1}"#), br#"{"id":1}"#);
    }

    #[test]
    fn tells_the_packets_of_an_opening_apart() {
        assert_eq!(Packet::of(br#"0{"sid":"a"}"#), Packet::Open);
        assert_eq!(Packet::of(br#"40/echo,{"sid":"a"}"#), Packet::Joined);
        assert_eq!(Packet::of(b"2"), Packet::Ping);
        assert_eq!(Packet::of(br#"42/echo,["m","a"]"#), Packet::Other);
        assert_eq!(Packet::of(b""), Packet::Other);
    }
}
