//! Values that extensions keep with each account, in memory and as documents.

use std::any::{Any, TypeId};

use crate::extension::{DecodeKeyed, Registry};

/// Values that an extension keeps with each account under keys, in memory and as documents.
pub trait KeyedState: Any + Send + Sized {
    /// The kind of the documents.
    const KIND: &'static str;
    /// Reads what [`Self::encode`] wrote. What cannot be read is left out.
    fn decode(text: &str) -> Option<Self>;
    fn encode(&self) -> String;
}

/// A value that an extension keeps with each account, in memory and as a document.
pub trait AccountState: Any + Send + Default {
    /// The kind of the document.
    const KIND: &'static str;
    /// Reads what [`Self::encode`] wrote. What cannot be read is the default.
    fn decode(text: &str) -> Self;
    fn encode(&self) -> String;
}

impl Registry {
    /// Keeps a value of type `T` with each account, read from the document of this kind (key `""`) when the account is
    /// loaded, found by [`crate::account::Account::state`] and replaced by [`crate::account::Account::set_state`].
    pub fn account_state<T: AccountState>(&mut self) -> &mut Self {
        self.kinds.push(T::KIND);
        self.states.insert(T::KIND, (TypeId::of::<T>(), |_, value| Box::new(T::decode(value))));
        self
    }

    /// Keeps values of type `T` with each account, one under each key, read from the documents of this kind when the
    /// account is loaded, found by [`crate::account::Account::keyed`] and replaced by [`crate::account::Account::set_keyed`].
    pub fn keyed_state<T: KeyedState>(&mut self) -> &mut Self {
        self.kinds.push(T::KIND);
        let decode: DecodeKeyed =
            |value| T::decode(value).map(|state| Box::new(state) as Box<dyn Any + Send>);
        self.keyed.insert(T::KIND, (TypeId::of::<T>(), decode));
        self
    }

    /// Reads what an extension keeps with an account under a key.
    pub(crate) fn decode_keyed(&self, kind: &str, value: &str) -> Option<(TypeId, Box<dyn Any + Send>)> {
        let (id, decode) = self.keyed.get(kind)?;
        decode(value).map(|state| (*id, state))
    }

    /// Reads the state that an extension keeps with an account.
    pub(crate) fn decode(&self, kind: &str, key: &str, value: &str) -> Option<(TypeId, Box<dyn Any + Send>)> {
        self.states.get(kind).map(|(id, decode)| (*id, decode(key, value)))
    }
}
