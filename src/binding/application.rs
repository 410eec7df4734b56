//! Whether an application has the methods that the plugin adds.

use napi::bindgen_prelude::*;
use napi::{Env, JsValue, ValueType};
use napi_derive::napi;

/// What `install` adds to an application.
pub(super) const METHODS: [&str; 3] = ["ws", "wsUse", "wsBroadcast"];

/// Whether `app` has `ws`, `wsUse` and `wsBroadcast`.
#[napi]
pub fn has_web_socket_support(app: Unknown<'_>) -> Result<bool> {
    Ok(missing_method(app)?.is_none())
}

/// Returns `app` itself, for TypeScript as an application whose WebSocket methods are there.
///
/// Throws a `TypeError` where the plugin has not been installed.
#[napi]
pub fn with_web_socket<'env>(env: Env, app: Unknown<'env>) -> Result<Unknown<'env>> {
    match missing_method(app)? {
        None => Ok(app),
        Some(method) => {
            env.throw_type_error(
                &format!(
                    "withWebSocket: the application has no {method}() method; install the \
                     plugin first: new WebSocketPlugin().install(app) (app.use() does not install it)"
                ),
                None,
            )?;
            Err(Error::new(Status::PendingException, String::new()))
        }
    }
}

fn missing_method(app: Unknown<'_>) -> Result<Option<&'static str>> {
    if !matches!(app.get_type()?, ValueType::Object | ValueType::Function) {
        return Ok(Some(METHODS[0]));
    }
    let app = app.coerce_to_object()?;
    for method in METHODS {
        let value: Option<Unknown<'_>> = app.get(method)?;
        let is_function = match value {
            Some(value) => value.get_type()? == ValueType::Function,
            None => false,
        };
        if !is_function {
            return Ok(Some(method));
        }
    }
    Ok(None)
}
