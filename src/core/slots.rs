//! What extensions hand each other: values that one of them registers and another finds by their type, and what one
//! keeps in memory for the whole server. The core looks into neither.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::extension::Registry;
use crate::hub::Hub;

/// Values by their type, in order of registration.
#[derive(Default)]
pub(crate) struct Slots(HashMap<TypeId, Vec<Box<dyn Any + Send + Sync>>>);

/// One value of each type, lost when the server stops.
#[derive(Default)]
pub(crate) struct Memory(Mutex<HashMap<TypeId, Box<dyn Any + Send>>>);

impl Registry {
    /// Hands a value to whichever extension asks for values of its type, such as a command to the one that runs commands.
    pub fn hand<T: Any + Send + Sync>(&mut self, value: T) -> &mut Self {
        self.slots.0.entry(TypeId::of::<T>()).or_default().push(Box::new(value));
        self
    }

    /// All values of a type, in order of registration.
    pub fn handed<T: Any>(&self) -> impl Iterator<Item = &T> {
        let values = self.slots.0.get(&TypeId::of::<T>()).into_iter().flatten();
        values.filter_map(|value| value.downcast_ref())
    }
}

impl Hub {
    /// Works on what an extension keeps in memory for the whole server, `T::default()` at first. It has to bound what
    /// it keeps. For a few lines: all extensions wait meanwhile.
    pub fn memory<T: Any + Default + Send, R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let mut memory = self.memory.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = memory.entry(TypeId::of::<T>()).or_insert_with(|| Box::new(T::default()));
        match kept.downcast_mut() {
            Some(kept) => work(kept),
            // Its key is its type.
            None => work(&mut T::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_over_is_found_by_its_type() {
        let mut registry = Registry::default();
        registry.hand(1_u8).hand("one").hand(2_u8);
        assert_eq!(registry.handed::<u8>().copied().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(registry.handed::<&str>().copied().collect::<Vec<_>>(), ["one"]);
        assert_eq!(registry.handed::<u16>().count(), 0);
    }
}
