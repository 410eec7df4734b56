//! Decides whether an HTTP request may become a WebSocket connection.
