//! The part of the configuration that says which servers may be called.

use std::{collections::BTreeMap, time::Duration};

use super::{
    file,
    origin::KeyPath,
    resolve::Resolver,
    value::{Count, List, Typed},
    written::Size,
};
use crate::{
    name::ProviderName,
    provider::remote::{ServerConfig, ServerLimits},
    report::Report,
};

impl Resolver<'_> {
    pub(super) fn servers(
        &mut self,
        servers: BTreeMap<Typed<ProviderName>, file::Server>,
        enabled: &List<Typed<ProviderName>>,
        extensions: &BTreeMap<Typed<ProviderName>, file::Extension>,
    ) -> Vec<ServerConfig> {
        let mut resolved = Vec::new();
        for (name, server) in servers {
            let key = KeyPath::new(["servers", name.0.as_str()]);
            if enabled.0.contains(&name) || extensions.contains_key(&name) {
                let report = Report::bad_input(format_args!(
                    "`{key}` has the name of an extension, and a link could not tell them apart"
                ));
                self.problems.add(&key, report.expected("another name"));
            }
            resolved.push(self.server(&key, name.0, server));
        }
        resolved
    }

    fn server(&mut self, key: &KeyPath, name: ProviderName, written: file::Server) -> ServerConfig {
        let base = ServerLimits::default();
        let count = |count: Option<Count>, base| count.map_or(base, Count::size);
        let limits = ServerLimits {
            connect_timeout: self.some_time(
                &key.child("connect-timeout"),
                written.connect_timeout,
                base.connect_timeout,
            ),
            deadline: self.some_time(&key.child("deadline"), written.deadline, base.deadline),
            concurrency: count(written.concurrency, base.concurrency),
            queue: count(written.queue, base.queue),
            answer_size: written.answer_size.map_or(base.answer_size, |Typed(Size(bytes))| {
                usize::try_from(bytes).unwrap_or(usize::MAX)
            }),
            unconfirmed: written.unconfirmed,
        };
        ServerConfig {
            wit: self.path(&key.child("wit"), Some(&written.wit)),
            interfaces: written.interfaces.0.into_iter().map(|Typed(name)| name).collect(),
            address: written.address.0,
            limits,
            name,
        }
    }

    fn some_time(
        &mut self,
        key: &KeyPath,
        written: Option<Typed<Duration>>,
        base: Duration,
    ) -> Duration {
        let time = written.map_or(base, |Typed(time)| time);
        if time.is_zero() {
            let report = Report::bad_input(format_args!("`{key}` would let nothing through"));
            self.problems.add(key, report.expected("a duration longer than nothing"));
        }
        time
    }
}
