//! A JavaScript value in words, for error messages. `lib/text.js` uses the same words.

use napi::bindgen_prelude::*;
use napi::{Env, JsValue, ValueType};

use crate::handshake::shown;

/// How many characters of a class's name are shown.
const CLASS_CHARS: usize = 40;

/// A value in words: a text in quotes and shortened, a number or boolean as it is, and the kind of
/// anything else, such as "an empty array" or "an instance of Map". Runs user code where the value
/// is a proxy or has getters, but nothing that this throws comes through.
pub(super) fn describe(env: &Env, value: Unknown<'_>) -> String {
    let coerced = || value.coerce_to_string()?.into_utf8()?.into_owned();
    match value.get_type().unwrap_or(ValueType::Unknown) {
        ValueType::Undefined => "undefined".into(),
        ValueType::Null => "null".into(),
        ValueType::String => shown(&coerced().unwrap_or_default()),
        ValueType::Number | ValueType::Boolean => coerced().unwrap_or_default(),
        ValueType::Function => "a function".into(),
        ValueType::Symbol => "a symbol".into(),
        ValueType::BigInt => "a bigint".into(),
        ValueType::Object if value.is_array().unwrap_or(false) => match is_empty(value) {
            Ok(true) => "an empty array".into(),
            _ => "an array".into(),
        },
        _ => match class_of(env, value) {
            Ok(Some(class)) => format!("an instance of {class}"),
            _ => "an object".into(),
        },
    }
}

fn is_empty(array: Unknown<'_>) -> Result<bool> {
    Ok(array.coerce_to_object()?.get_array_length()? == 0)
}

/// The name of an object's class, by its prototype: an own property `constructor` is just data.
/// `None` for plain objects, and where there is no such name.
fn class_of(env: &Env, value: Unknown<'_>) -> Result<Option<String>> {
    let intrinsics = Intrinsics::new(env)?;
    let Some(prototype) = intrinsics.prototype(value)? else { return Ok(None) };
    let constructor = intrinsics.property(prototype, "constructor")?;
    if constructor.get_type()? != ValueType::Function {
        return Ok(None);
    }
    let name = intrinsics.property(constructor, "name")?;
    if name.get_type()? != ValueType::String {
        return Ok(None);
    }
    let name = name.coerce_to_string()?.into_utf8()?.into_owned()?;
    let printable = |character: char| if character.is_control() { '?' } else { character };
    let name: String = name.chars().take(CLASS_CHARS).map(printable).collect();
    Ok((!name.is_empty() && name != "Object").then_some(name))
}

/// JavaScript's own functions to look at an object.
///
/// Called as functions, they return what user code throws as an error and leave no exception
/// pending, which reading a property by Node-API would do.
pub(super) struct Intrinsics {
    reflect: Object<'static>,
    object: Object<'static>,
}

impl Intrinsics {
    pub(super) fn new(env: &Env) -> Result<Self> {
        let global = env.get_global()?;
        Ok(Self {
            reflect: global.get_named_property("Reflect")?,
            // Functions are objects for JavaScript, but not for napi-rs.
            object: global
                .get_named_property_unchecked::<Unknown<'_>>("Object")?
                .coerce_to_object()?,
        })
    }

    /// The prototype of an object, or `None` where it has none.
    pub(super) fn prototype<'env>(&self, object: Unknown<'env>) -> Result<Option<Unknown<'env>>> {
        let get: Function<'_, FnArgs<(Unknown<'env>,)>, Unknown<'env>> =
            self.reflect.get_named_property("getPrototypeOf")?;
        let prototype = get.call(FnArgs::from((object,)))?;
        Ok((prototype.get_type()? != ValueType::Null).then_some(prototype))
    }

    /// A property, own or inherited.
    pub(super) fn property<'env>(
        &self,
        object: Unknown<'env>,
        name: &str,
    ) -> Result<Unknown<'env>> {
        let get: Function<'_, FnArgs<(Unknown<'env>, &str)>, Unknown<'env>> =
            self.reflect.get_named_property("get")?;
        get.call(FnArgs::from((object, name)))
    }

    /// The names of an object's own enumerable properties.
    pub(super) fn own_keys(&self, object: Unknown<'_>) -> Result<Vec<String>> {
        let keys: Function<'_, FnArgs<(Unknown<'_>,)>, Vec<String>> =
            self.object.get_named_property("keys")?;
        keys.call(FnArgs::from((object,)))
    }

    /// Whether an object is the `Object.prototype` of this realm or another.
    pub(super) fn is_object_prototype(&self, object: Unknown<'_>) -> Result<bool> {
        if self.prototype(object)?.is_some() {
            return Ok(false);
        }
        let constructor = self.property(object, "constructor")?;
        if constructor.get_type()? != ValueType::Function {
            return Ok(false);
        }
        let name = self.property(constructor, "name")?;
        Ok(name.get_type()? == ValueType::String
            && name.coerce_to_string()?.into_utf8()?.as_str()? == "Object")
    }
}
