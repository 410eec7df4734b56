//! What holds for the connections of a route: what `ws` was told, and for the rest what the plugin was.

use std::rc::Rc;

use super::capacity::Capacity;
use crate::handshake::{DeflateOptions, OriginRules, SubprotocolRule};
use crate::protocol::DeflateParams;
use crate::session::{Compression, MessageRate, Terms};

/// What holds for some connections.
#[derive(Clone)]
pub(super) struct Rules {
    /// Milliseconds between pings; zero means none.
    pub heartbeat: u32,
    /// Longest message in bytes.
    pub max_message_size: u32,
    /// How many messages one connection may send; `None` is no limit.
    pub message_rate: Option<MessageRate>,
    pub origins: Rc<OriginRules>,
    pub protocols: Rc<SubprotocolRule>,
    /// `None` is no compression.
    pub deflate: Option<DeflateOptions>,
}

impl Rules {
    /// What holds for a connection that has `agreed` on compression.
    pub fn terms(&self, agreed: Option<DeflateParams>) -> Terms {
        let DeflateOptions { threshold, level, .. } = self.deflate.unwrap_or_default();
        let compression = agreed.map(|params| Compression {
            params,
            threshold: u32::try_from(threshold).unwrap_or(u32::MAX),
            level: level as u8,
        });
        let Self { max_message_size, message_rate, .. } = *self;
        Terms { max_message_size, message_rate, compression }
    }
}

/// The options of one `ws`, after checking. `None` is the plugin's.
pub(super) struct RouteOptions {
    pub heartbeat: Option<u32>,
    /// The inner `None` is no limit of the route's own, either.
    pub max_connections: Option<Option<u32>>,
    pub max_message_size: Option<u32>,
    pub message_rate: Option<MessageRate>,
    pub origins: Option<OriginRules>,
    /// Indices of `allowOrigins` whose RegExp has to run in JavaScript.
    pub regexps_for_javascript: Vec<u32>,
    pub protocols: Option<SubprotocolRule>,
    pub deflate: Option<Option<DeflateOptions>>,
}

/// A route that was told something of its own.
pub(super) struct RouteRules {
    pub rules: Rules,
    /// Counts its connections, where they have a limit.
    pub capacity: Option<Capacity>,
}

impl RouteRules {
    /// By `options` where they say something, and by the plugin's rules for the rest.
    pub fn new(options: RouteOptions, of_plugin: &Rules) -> Self {
        let rules = Rules {
            heartbeat: options.heartbeat.unwrap_or(of_plugin.heartbeat),
            max_message_size: options.max_message_size.unwrap_or(of_plugin.max_message_size),
            message_rate: options.message_rate.or(of_plugin.message_rate),
            origins: options.origins.map_or_else(|| of_plugin.origins.clone(), Rc::new),
            protocols: options.protocols.map_or_else(|| of_plugin.protocols.clone(), Rc::new),
            deflate: options.deflate.unwrap_or(of_plugin.deflate),
        };
        let limit = options.max_connections.flatten();
        Self { rules, capacity: limit.map(|limit| Capacity::new(Some(limit))) }
    }
}
