//! A session and where its bytes come from.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::sync::Arc;
use std::task::{Poll, Waker};

use tokio::task::AbortHandle;

use crate::exchange::{AddressPlace, ConnectionId, Places};
use crate::session::Session;
use crate::transport::Transport;

/// One connection. Owned by the I/O thread, shared by its tasks.
///
/// Up to [`MAX_BYTES`] it fits between what tokio allocates for its socket and its reader, at multiples
/// of 128 bytes each; beyond, the next 128 are taken.
#[derive(Debug)]
pub(super) struct Connection {
    pub id: ConnectionId,
    pub session: RefCell<Session>,
    pub transport: Transport,
    /// Reads until the session wants no more.
    pub reader: OnceCell<AbortHandle>,
    /// Tells the reader that messages are no longer held.
    pub resumed: Resumed,
    pub marks: Marks,
    /// Below the transport, so that it is given back after the descriptor has been closed.
    pub place: Place,
}

/// Two counts of references and what the allocator notes stand beside it.
const MAX_BYTES: usize = 344;

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Connection>() <= MAX_BYTES);

/// What the lists of the thread know of a connection.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Broadcasts to everyone reach it: not before it has passed all middleware.
    pub ready: Cell<bool>,
    /// Has bytes to be read, and waits for its turn.
    pub waits_to_read: Cell<bool>,
    /// Stands in the list of connections to be flushed first.
    pub dirty: Cell<bool>,
    /// Stands in the list of connections with broadcasts to be flushed.
    pub dirty_broadcast: Cell<bool>,
}

/// Wakes the reader, which asks by itself what it was woken for.
#[derive(Default)]
pub(super) struct Resumed(Cell<Option<Waker>>);

impl fmt::Debug for Resumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resumed")
    }
}

impl Resumed {
    /// Returns after the next [`Self::wake`], or earlier.
    pub fn wait(&self) -> impl Future<Output = ()> {
        let mut waits = false;
        std::future::poll_fn(move |context| {
            if std::mem::replace(&mut waits, true) {
                return Poll::Ready(());
            }
            self.0.set(Some(context.waker().clone()));
            Poll::Pending
        })
    }

    pub fn wake(&self) {
        if let Some(waker) = self.0.take() {
            waker.wake();
        }
    }
}

/// What a connection takes up as long as it has a descriptor. An enum, so that a place among those of an
/// address takes no room where these are not counted.
#[derive(Debug)]
pub(super) enum Place {
    /// Counted with the connections of the thread and its route.
    Plain { lingers: Cell<Lingers>, places: Arc<Places> },
    /// And with those of its address.
    OfAddress { lingers: Cell<Lingers>, both: Box<(Arc<Places>, Arc<AddressPlace>)> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lingers {
    No,
    Yes,
    /// It did, until its place was wanted.
    CutShort,
}

impl Place {
    pub fn taken(places: Arc<Places>, of_address: Option<Arc<AddressPlace>>) -> Self {
        let lingers = Cell::new(Lingers::No);
        match of_address {
            None => Self::Plain { lingers, places },
            Some(place) => Self::OfAddress { lingers, both: Box::new((places, place)) },
        }
    }

    fn lingers(&self) -> &Cell<Lingers> {
        let (Self::Plain { lingers, .. } | Self::OfAddress { lingers, .. }) = self;
        lingers
    }

    fn places(&self) -> &Places {
        match self {
            Self::Plain { places, .. } => places,
            Self::OfAddress { both, .. } => &both.0,
        }
    }

    fn tell_address(&self, lingers: bool) {
        if let Self::OfAddress { both, .. } = self {
            both.1.set_lingers(lingers);
        }
    }

    /// The connection makes room from now on when its place is wanted.
    pub fn linger(&self) {
        if self.lingers().get() == Lingers::No {
            self.lingers().set(Lingers::Yes);
            self.places().linger_began();
            self.tell_address(true);
        }
    }

    /// It has something to write after all.
    pub fn stop_lingering(&self) {
        self.forget_lingering();
        self.tell_address(false);
    }

    fn forget_lingering(&self) {
        let before = self.lingers().replace(Lingers::No);
        if before != Lingers::No {
            self.places().linger_ended(before == Lingers::CutShort);
        }
    }

    /// Returns `true` if it has to make room now, where one of `wanted` is.
    pub fn cut_short(&self, wanted: &Places) -> bool {
        let lingers = self.lingers().get() == Lingers::Yes && self.places().are_among(wanted);
        if lingers {
            self.lingers().set(Lingers::CutShort);
            self.places().cut_short();
        }
        lingers
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // In this order: somebody who asks in between may let in one too many for a moment, but turns
        // nobody away. The place among those of an address goes behind this, at once.
        self.places().connection_went();
        self.forget_lingering();
    }
}

impl Connection {
    pub fn new(id: ConnectionId, session: Session, transport: Transport, place: Place) -> Self {
        Self {
            id,
            session: RefCell::new(session),
            transport,
            reader: OnceCell::new(),
            resumed: Resumed::default(),
            marks: Marks::default(),
            place,
        }
    }

    /// Nothing more is read by the reader.
    pub fn stop_reading(&self) {
        if let Some(reader) = self.reader.get() {
            reader.abort();
        }
    }
}
