//! `probe:types/resources` and `more-resources`: one group with one resource in both.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use backplane_sdk::{Borrow, Context, Failure, Own};

use crate::{
    Binding,
    bindings::probe::types::{
        more_resources,
        resources::{self, Found, Handler, Labelled},
    },
    faults::blow_up,
};

static LIVE: AtomicU32 = AtomicU32::new(0);

/// A resource with a label, counted while it lives.
#[derive(Debug)]
pub struct Thing(Mutex<String>);

impl Thing {
    pub(crate) fn new(label: impl Into<String>) -> Self {
        LIVE.fetch_add(1, Ordering::SeqCst);
        Self(Mutex::new(label.into()))
    }

    fn own(label: impl Into<String>) -> Own<resources::Thing> {
        Own::new(Self::new(label))
    }

    fn lock(&self) -> MutexGuard<'_, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn label(&self) -> String {
        self.lock().clone()
    }

    fn rename(&self, label: &str) -> String {
        std::mem::replace(&mut self.lock(), label.to_owned())
    }
}

impl Drop for Thing {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

fn numbered(count: u32) -> Vec<Own<resources::Thing>> {
    (0..count).map(|number| Thing::own(number.to_string())).collect()
}

/// A resource whose destructor panics.
#[derive(Debug)]
pub struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        blow_up("the bomb went off".to_owned())
    }
}

impl Handler for Binding {
    async fn thing_new(&self, _: &Context, label: &str) -> Result<Own<resources::Thing>, Failure> {
        Ok(Thing::own(label))
    }

    async fn thing_label(&self, _: &Context, this: &Thing) -> Result<String, Failure> {
        Ok(this.label())
    }

    async fn thing_set_label(&self, _: &Context, this: &Thing, label: &str) -> Result<(), Failure> {
        this.rename(label);
        Ok(())
    }

    async fn thing_join(
        &self,
        _: &Context,
        a: &Thing,
        b: &Thing,
    ) -> Result<Own<resources::Thing>, Failure> {
        let label = a.label() + &b.label();
        Ok(Thing::own(label))
    }

    async fn bomb_new(&self, cx: &Context) -> Result<Own<resources::Bomb>, Failure> {
        Ok(cx.own(Bomb))
    }

    async fn bomb_ticks(&self, _: &Context, _: &Bomb) -> Result<bool, Failure> {
        Ok(true)
    }

    async fn live(&self, _: &Context) -> Result<u32, Failure> {
        Ok(LIVE.load(Ordering::SeqCst))
    }

    async fn make_many(
        &self,
        _: &Context,
        count: u32,
    ) -> Result<Vec<Own<resources::Thing>>, Failure> {
        Ok(numbered(count))
    }

    async fn make_maybe(
        &self,
        _: &Context,
        label: Option<&str>,
    ) -> Result<Option<Own<resources::Thing>>, Failure> {
        Ok(label.map(Thing::own))
    }

    async fn make_result(
        &self,
        _: &Context,
        label: Result<&str, &str>,
    ) -> Result<Result<Own<resources::Thing>, String>, Failure> {
        Ok(label.map(Thing::own).map_err(str::to_owned))
    }

    async fn make_labelled(&self, _: &Context, label: &str) -> Result<Labelled, Failure> {
        Ok(Labelled { label: label.to_owned(), thing: Thing::own(label) })
    }

    async fn make_found(&self, _: &Context, count: u32) -> Result<Found, Failure> {
        Ok(match count {
            0 => Found::Nothing,
            1 => Found::One(Thing::own("0")),
            _ => Found::Many(numbered(count)),
        })
    }

    async fn make_then_fail(
        &self,
        _: &Context,
        count: u32,
    ) -> Result<Vec<Own<resources::Thing>>, Failure> {
        let things = numbered(count);
        Err(Failure::new(format_args!("fails with {} things made", things.len())))
    }

    async fn consume(&self, _: &Context, thing: Arc<Thing>) -> Result<String, Failure> {
        Ok(thing.label())
    }

    async fn consume_many(
        &self,
        _: &Context,
        things: Vec<Own<resources::Thing>>,
    ) -> Result<Vec<String>, Failure> {
        Ok(things.iter().map(|thing| thing.label()).collect())
    }

    async fn consume_labelled(&self, _: &Context, labelled: Labelled) -> Result<String, Failure> {
        Ok(labelled.label + &labelled.thing.label())
    }

    async fn pass(&self, _: &Context, thing: Arc<Thing>) -> Result<Own<resources::Thing>, Failure> {
        Ok(thing.into())
    }

    async fn label_later(&self, _: &Context, thing: &Thing) -> Result<String, Failure> {
        tokio::task::yield_now().await;
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        Ok(thing.label())
    }

    async fn labels(
        &self,
        _: &Context,
        things: Vec<Borrow<resources::Thing>>,
    ) -> Result<Vec<String>, Failure> {
        Ok(things.iter().map(|thing| thing.label()).collect())
    }

    async fn label_of_maybe(
        &self,
        _: &Context,
        thing: Option<Borrow<resources::Thing>>,
    ) -> Result<Option<String>, Failure> {
        Ok(thing.map(|thing| thing.label()))
    }
}

impl more_resources::Handler for Binding {
    async fn rename(&self, _: &Context, thing: &Thing, label: &str) -> Result<String, Failure> {
        Ok(thing.rename(label))
    }

    async fn copy(&self, _: &Context, thing: &Thing) -> Result<Own<resources::Thing>, Failure> {
        Ok(Thing::own(thing.label()))
    }

    async fn consume(&self, _: &Context, thing: Arc<Thing>) -> Result<String, Failure> {
        Ok(thing.label())
    }
}
