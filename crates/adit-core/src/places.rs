//! Places that run out: how many of one thing each holder may have at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who holds how many.
#[derive(Debug)]
pub struct Places<K>(Mutex<HashMap<K, usize>>);

impl<K> Default for Places<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Copy + Eq + Hash> Places<K> {
    /// Takes one more for a holder, unless it has as many as it may.
    pub fn take(self: &Arc<Self>, holder: K, most: usize) -> Option<Place<K>> {
        let mut map = self.lock();
        let held = map.entry(holder).or_default();
        if *held >= most {
            if *held == 0 {
                map.remove(&holder);
            }
            return None;
        }
        *held += 1;
        Some(Place { places: Arc::clone(self), holder })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One place, given back when it is dropped.
#[derive(Debug)]
pub struct Place<K: Copy + Eq + Hash> {
    places: Arc<Places<K>>,
    holder: K,
}

impl<K: Copy + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut map = self.places.lock();
        if let Some(held) = map.get_mut(&self.holder) {
            *held -= 1;
            if *held == 0 {
                map.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_given_back_can_be_taken_again() {
        let places = Arc::new(Places::default());
        let first = places.take("ann", 2).expect("a place");
        let _second = places.take("ann", 2).expect("a place");
        assert!(places.take("ann", 2).is_none());
        assert!(places.take("ben", 2).is_some(), "another's places are another's");
        drop(first);
        assert!(places.take("ann", 2).is_some());
    }

    #[test]
    fn nobody_who_holds_nothing_is_remembered() {
        let places = Arc::new(Places::default());
        drop(places.take("ann", 1));
        assert!(places.take("ben", 0).is_none());
        assert!(places.lock().is_empty());
    }
}
