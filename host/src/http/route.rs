//! Which workload answers a request: by host name, then by the longest path prefix.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;

use crate::{
    name::WorkloadName,
    workload::{Workload, spec::Route},
};

/// Two workloads that would answer the same requests.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "workloads `{first}` and `{second}` both answer {}`{path}`; expected one for each host and path; \
     give one of them another `http.hosts` or `http.path`",
    host.as_ref().map(|host| format!("`{host}` at ")).unwrap_or_default()
)]
pub struct RouteError {
    /// One of them.
    pub first: WorkloadName,
    /// The other.
    pub second: WorkloadName,
    /// The host or wildcard that both name; none if both answer every host.
    pub host: Option<String>,
    /// The path that both name.
    pub path: String,
}

/// A table of routes, made once for a set of workloads.
#[derive(Debug)]
pub struct Router<T = Workload> {
    by_host: HashMap<String, Vec<Entry<T>>>,
    /// Wildcards, by what follows `*.`.
    by_domain: HashMap<String, Vec<Entry<T>>>,
    any_host: Vec<Entry<T>>,
    targets: Vec<Arc<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    /// Without a slash at its end: the root is empty.
    path: String,
    name: WorkloadName,
    target: Arc<T>,
    /// Whether the target sees the path without this one.
    strip: bool,
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self {
            by_host: HashMap::new(),
            by_domain: HashMap::new(),
            any_host: Vec::new(),
            targets: Vec::new(),
        }
    }
}

impl Router {
    /// The table for some workloads; those without a route are not in it.
    pub fn new(workloads: impl IntoIterator<Item = Arc<Workload>>) -> Result<Self, RouteError> {
        let mut router = Self::default();
        for workload in workloads {
            if let Some(route) = &workload.spec().http {
                router.add(workload.name(), route, &workload)?;
            }
        }
        Ok(router)
    }
}

impl<T> Router<T> {
    fn add(
        &mut self,
        name: &WorkloadName,
        route: &Route,
        target: &Arc<T>,
    ) -> Result<(), RouteError> {
        self.targets.push(Arc::clone(target));
        let entry = || Entry {
            path: route.path.trim_end_matches('/').to_owned(),
            name: name.clone(),
            target: Arc::clone(target),
            strip: route.strip,
        };
        if route.hosts.is_empty() {
            return insert(&mut self.any_host, None, entry());
        }
        for host in &route.hosts {
            let host = host.to_ascii_lowercase();
            let entries = match host.strip_prefix("*.") {
                Some(domain) => self.by_domain.entry(domain.to_owned()).or_default(),
                None => self.by_host.entry(host.clone()).or_default(),
            };
            insert(entries, Some(host), entry())?;
        }
        Ok(())
    }

    /// The workload that answers a path on a host, which is in lower case and without its port; and how
    /// much of the path it does not see.
    ///
    /// A workload that names the host comes before one that names a domain it is below, the longest
    /// first, and that before one that answers every host.
    pub fn find(&self, host: &str, path: &str) -> Option<(&Arc<T>, usize)> {
        let domains = std::iter::successors(below(host), |domain| below(domain));
        std::iter::once(self.by_host.get(host))
            .chain(domains.map(|domain| self.by_domain.get(domain)))
            .flatten()
            .chain([&self.any_host])
            .find_map(|entries| entries.iter().find(|entry| is_below(path, &entry.path)))
            .map(|entry| (&entry.target, if entry.strip { entry.path.len() } else { 0 }))
    }

    /// Every workload in the table.
    pub fn targets(&self) -> &[Arc<T>] {
        &self.targets
    }
}

/// The domain that a name is in.
fn below(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, domain)| domain)
}

/// Keeps the longest paths first, so that the first match is the longest.
fn insert<T>(
    entries: &mut Vec<Entry<T>>,
    host: Option<String>,
    entry: Entry<T>,
) -> Result<(), RouteError> {
    if let Some(other) = entries.iter().find(|other| other.path == entry.path) {
        return Err(RouteError {
            first: other.name.clone(),
            second: entry.name,
            host,
            path: if entry.path.is_empty() { "/".to_owned() } else { entry.path },
        });
    }
    let place = entries.partition_point(|other| other.path.len() >= entry.path.len());
    entries.insert(place, entry);
    Ok(())
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        || prefix.is_empty()
}

/// The table that a running server looks into, replaced as workloads come and go.
#[derive(Debug, Clone, Default)]
pub struct Routes(Arc<ArcSwap<Router>>);

impl Routes {
    /// Begins with a table.
    pub fn new(router: Router) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(router)))
    }

    /// Replaces the table. Requests that have begun go on where they are.
    pub fn replace(&self, router: Router) {
        self.0.store(Arc::new(router));
    }

    /// The table of now.
    pub fn current(&self) -> Arc<Router> {
        self.0.load_full()
    }

    /// As [`Router::find`], in the table of now. It takes no lock.
    pub(super) fn find(&self, host: &str, path: &str) -> Option<(Arc<Workload>, usize)> {
        self.0.load().find(host, path).map(|(target, strip)| (Arc::clone(target), strip))
    }
}

impl From<Router> for Routes {
    fn from(router: Router) -> Self {
        Self::new(router)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(
        router: &mut Router<&'static str>,
        name: &'static str,
        hosts: &[&str],
        path: &str,
    ) -> Result<(), RouteError> {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        let route = Route { hosts, path: path.to_owned(), strip: false };
        router.add(&name.parse().unwrap(), &route, &Arc::new(name))
    }

    fn find(router: &Router<&'static str>, host: &str, path: &str) -> Option<&'static str> {
        router.find(host, path).map(|(target, _)| **target)
    }

    #[test]
    fn a_named_host_comes_first_and_then_the_longest_whole_segments() {
        let mut router = Router::default();
        add(&mut router, "root", &[], "/").unwrap();
        add(&mut router, "api", &[], "/api").unwrap();
        add(&mut router, "api-v2", &[], "/api/v2/").unwrap();
        add(&mut router, "shop", &["Shop.example", "www.shop.example"], "/buy").unwrap();
        assert_eq!(find(&router, "x", "/"), Some("root"));
        assert_eq!(find(&router, "x", "/api"), Some("api"));
        assert_eq!(find(&router, "x", "/apis"), Some("root"));
        assert_eq!(find(&router, "x", "/api/v2"), Some("api-v2"));
        assert_eq!(find(&router, "x", "/api/v2/a"), Some("api-v2"));
        assert_eq!(find(&router, "x", "/api/v22"), Some("api"));
        assert_eq!(find(&router, "shop.example", "/buy/1"), Some("shop"));
        assert_eq!(find(&router, "www.shop.example", "/buy"), Some("shop"));
        assert_eq!(find(&router, "shop.example", "/api"), Some("api"));
        assert_eq!(find(&router, "x", "*"), Some("root"));
    }

    #[test]
    fn an_exact_host_comes_before_the_longest_wildcard_and_that_before_any_host() {
        let mut router = Router::default();
        add(&mut router, "any", &[], "/").unwrap();
        add(&mut router, "all", &["*.Example"], "/").unwrap();
        add(&mut router, "shops", &["*.shop.example"], "/buy").unwrap();
        add(&mut router, "one", &["a.shop.example"], "/buy/now").unwrap();
        assert_eq!(find(&router, "a.shop.example", "/buy/now"), Some("one"));
        assert_eq!(find(&router, "a.shop.example", "/buy"), Some("shops"));
        assert_eq!(find(&router, "b.a.shop.example", "/buy/now"), Some("shops"));
        assert_eq!(find(&router, "a.shop.example", "/"), Some("all"));
        assert_eq!(find(&router, "shop.example", "/buy"), Some("all"));
        // A wildcard is for what is below its domain.
        assert_eq!(find(&router, "example", "/"), Some("any"));
        assert_eq!(find(&router, "notexample", "/"), Some("any"));
        let error = add(&mut router, "two", &["*.shop.example"], "/buy").unwrap_err();
        assert!(error.to_string().contains("`*.shop.example` at `/buy`"), "{error}");
    }

    #[test]
    fn a_prefix_is_stripped_where_the_route_says_so() {
        let mut router = Router::default();
        let route = Route { hosts: Vec::new(), path: "/api/".to_owned(), strip: true };
        router.add(&"api".parse().unwrap(), &route, &Arc::new("api")).unwrap();
        add(&mut router, "v2", &[], "/api/v2").unwrap();
        let stripped = |path| router.find("x", path).map(|(_, strip)| &path[strip..]);
        assert_eq!(stripped("/api/users"), Some("/users"));
        assert_eq!(stripped("/api"), Some(""));
        assert_eq!(stripped("/api/v2/users"), Some("/api/v2/users"));
    }

    #[test]
    fn nothing_answers_where_no_prefix_fits() {
        let mut router = Router::default();
        add(&mut router, "api", &["a.example"], "/api").unwrap();
        assert_eq!(find(&router, "a.example", "/"), None);
        assert_eq!(find(&router, "b.example", "/api"), None);
    }

    #[test]
    fn a_conflict_names_both_workloads_and_what_they_share() {
        let mut router = Router::default();
        add(&mut router, "one", &["a.example"], "/x").unwrap();
        let error =
            add(&mut router, "two", &["b.example", "a.example"], "/x/").unwrap_err().to_string();
        for part in ["`one`", "`two`", "`a.example`", "`/x`", "http.path"] {
            assert!(error.contains(part), "{error}");
        }
        add(&mut router, "three", &[], "/").unwrap();
        let error = add(&mut router, "four", &[], "/").unwrap_err().to_string();
        assert!(error.contains("both answer `/`"), "{error}");
    }
}
